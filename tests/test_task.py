"""Tasks: splits, batches beside a training, and that any sampler and strategy trains and searches a detector."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from nasedu import data, sampling, search, spaces, wzdnas
from nasedu.classification import recipe
from nasedu.data import ImageSet
from nasedu.data.prefetch import Shared, made_ahead, prefetched
from nasedu.detection import Augment
from nasedu.errors import ParameterError
from nasedu.ranking import RankingLoss
from nasedu.sampling import gumbel_softmax, supernet_step, uniform_logits
from nasedu.search.gradient import RELAXATIONS
from nasedu.tables import Budget, LookupTable
from nasedu.task import Classification, fit


@pytest.fixture(scope="module")
def space():
    return spaces.create("yolo:course", image_size=64)


@pytest.fixture(scope="module")
def task(space):
    scenes = [data.detection("digits", split, size=4, image_size=64) for split in ("train", "val")]
    config = wzdnas.recipe("short", epochs=1, flip=False, batch_size=2)
    return wzdnas.detection_task(space, config, scenes[0], val=scenes[1], seed=3)


@pytest.fixture(scope="module")
def depth(space):
    return LookupTable.build(space, "depth")


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.parametrize("name", sampling.names())
def test_any_sampler_trains_a_detector(space, task, depth, name):
    options = {"table": depth, "n": 2} if name == "sandwich" else {}
    sampler, supernet = sampling.create(name, space, **options), space.supernet(seed=0)
    start = weights(supernet)
    config = recipe(1, warmup_steps=0)
    ranking = RankingLoss(depth) if name == "pairs" else None
    step = supernet_step(space, sampler, task, ranking=ranking)
    history = fit(supernet, replace(task, batch_size=4), config, step).history
    assert ({"labels", "ranking"} if ranking else {"box", "obj", "cls"}) | {"total"} <= set(history[0])
    assert ("teacher" in history[0]) == sampler.distils
    assert not torch.equal(weights(supernet), start)


def test_blind_searches_find_a_detector(space, task):
    evaluate = search.SupernetScore(space, space.supernet(seed=0), task, batches=1)
    plain, bred = search.SearchConfig(budget=2), search.EvolutionConfig(budget=2, population=2, children=1, k=1)
    strategies = ((search.random_search, plain), (search.local_search, plain), (search.evolution, bred))
    for strategy, settings in strategies:
        result = strategy(space, evaluate, settings)
        assert len(result.history) == 2 and result.score == evaluate(result.best) and not result.history[0]["error"]


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_descent_finds_a_detector(space, task, relaxation):
    config = search.GradientConfig(relaxation, epochs=1, warmup_epochs=0)
    result = search.gradient_search(space, task, config)
    moved = [float((p - 1 / len(p)).abs().max()) for p in result.path]
    assert len(result.best) == len(space.choices) and min(moved) > 1e-4 and 0 <= result.score <= 1


def test_descent_over_tables_finds_a_detector(depth):
    budget = Budget([(depth, 1.0, "linear")])
    found = search.descend(budget, search.DescentConfig(steps=400, lr=0.1))
    assert depth(found.best) == depth.bounds()[0] == -found.score == -found.anytime()[-1]


def test_the_warm_up_is_a_gumbel_sampler_that_stays_at_three(space, task):
    """Its loss to the last digit, against the step written out."""

    task = replace(task, batch_size=4)

    def step(model, batch, generator):
        images, targets = batch
        path = gumbel_softmax(uniform_logits(space.choices), 3.0, generator)
        return task.loss(model(images.contiguous(memory_format=torch.channels_last), path), targets)

    warmed = wzdnas.warm_up(space, space.supernet(seed=0), task, recipe(2), seed=5)
    written = fit(space.supernet(seed=0), task, recipe(2), step, seed=5)
    assert [h["total"] for h in warmed.history] == [h["total"] for h in written.history]


def test_a_detector_learns_from_its_teacher_where_that_sees_objects(task, space):
    generator = torch.Generator().manual_seed(0)
    teacher = [torch.randn(2, 3, s, s, 15, generator=generator) for s in (8, 4, 2)]
    ours = [(m + 0.5 * torch.randn(m.shape, generator=generator)).requires_grad_() for m in teacher]
    seen = [m.clone().requires_grad_() for m in teacher]
    assert float(task.distil(ours, seen).detach()) > float(task.distil(teacher, seen))
    task.distil(ours, seen).backward()
    assert all(m.grad is None for m in seen)
    for mine, theirs in zip(ours, teacher, strict=True):
        box = (mine.grad[..., :4] / (mine - theirs)[..., :4]).detach().mean(-1)
        share = box / theirs[..., 4].sigmoid()
        torch.testing.assert_close(share, share.mean().expand_as(share), rtol=1e-3, atol=0)
    same = task.distil(teacher, teacher)
    assert float(task.distil([m + 0.1 for m in teacher], teacher)) > float(same)


def test_halves_are_disjoint_and_splits_are_named(task):
    weights, logits, whole = (
        {images[i][0].numpy().tobytes() for i in range(len(images))}
        for images in (task.data("weights"), task.data("logits"), task.train)
    )
    assert len(weights) == len(logits) == 2 and not weights & logits and weights | logits <= whole
    with pytest.raises(ParameterError, match="no data for 'test'"):
        task.batches("test", 0)
    with pytest.raises(ParameterError, match="no data for 'loss'"):
        task.data("loss")


def test_halves_are_shuffled_apart():
    """The same positions in both halves would be one draw used twice."""
    numbers = torch.arange(64)
    images = ImageSet("n", "train", ["a"], numbers.float().view(-1, 1, 1, 1).repeat(1, 3, 2, 2), numbers)
    task, places = Classification(images, batch_size=32, seed=1), []
    for half in ("weights", "logits"):
        order = torch.cat([y for _, y in task.batches(half, 0)]).tolist()
        own = task.data(half).labels.tolist()
        places.append([own.index(i) for i in order])
        assert sorted(order) == sorted(own) and order != torch.cat([y for _, y in task.batches(half, 1)]).tolist()
    assert places[0] != places[1]
    assert torch.equal(torch.cat([y for _, y in Classification(images, images).batches("val", 0)]), numbers)


def test_trainings_side_by_side_make_each_batch_once(task, monkeypatch):
    made, shared = [], replace(task, batch_size=1)
    take = type(task.train).__getitem__
    monkeypatch.setattr(type(task.train), "__getitem__", lambda self, i: (made.append(i), take(self, i))[1])
    with ThreadPoolExecutor(3) as executor:
        epochs = list(executor.map(lambda _: list(shared.batches("train", 0)), range(3)))
    assert len(made) == 4
    for other in epochs[1:]:
        assert all(torch.equal(a, b) for x, y in zip(epochs[0], other, strict=True) for a, b in zip(x, y, strict=True))
    alone = list(replace(shared).batches("train", 0))
    assert len(made) == 8 and all(torch.equal(a[0], b[0]) for a, b in zip(alone, epochs[0], strict=True))


def test_what_lags_behind_is_made_again_and_an_error_is_forgotten():
    shared, made = Shared(2), []
    for key in (1, 2, 1, 3, 2, 1):
        assert shared(key, lambda key=key: made.append(key) or key) == key
    assert made == [1, 2, 3, 1]
    with pytest.raises(KeyError):
        shared(9, lambda: {}["no"])
    assert shared(9, lambda: "again") == "again"


def test_items_are_made_ahead_in_order_and_errors_travel():
    made = []

    def items():
        for i in range(10):
            made.append((i, threading.current_thread() is threading.main_thread()))
            yield i
        raise ValueError("after the last")

    iterator = prefetched(items(), ahead=3)
    assert [next(iterator) for _ in range(10)] == list(range(10))
    with pytest.raises(ValueError, match="after the last"):
        next(iterator)
    assert made == [(i, False) for i in range(10)]


def test_several_threads_make_batches_side_by_side_and_in_order():
    """Both makers of a pair wait until the other has begun: one thread alone would never end."""
    gates = [threading.Barrier(2, timeout=20) for _ in range(4)]
    makers = [lambda i=i: (gates[i // 2].wait(), i)[1] for i in range(8)]
    threads = set(threading.enumerate())
    assert list(made_ahead(makers, workers=2, ahead=4)) == list(range(8))
    assert set(threading.enumerate()) == threads
    assert list(made_ahead([], workers=2)) == []


def test_batches_for_a_gpu_are_those_of_the_cpu(task):
    """On the meta device, which cannot tell a value, in place of a GPU; and on the CPU by several threads."""
    task = replace(task, batch_size=1, augment=Augment(mosaic=0.5, mixup=0.5))
    plain = list(task.batches("train", 1))
    several = list(replace(task, workers=3).batches("train", 1))
    assert all(torch.equal(a, b) for x, y in zip(plain, several, strict=True) for a, b in zip(x, y, strict=True))
    placed = task.on("meta")
    assert [(x.device.type, x.shape, x.dtype) for x, _ in placed.batches("train", 1)] == [
        ("meta", x.shape, x.dtype) for x, _ in plain
    ]
    assert task.on("cpu") is task and placed.identity == task.identity


def test_the_thread_stops_with_its_consumer():
    made, threads = [], set(threading.enumerate())
    iterator = prefetched((made.append(i) or i for i in range(1000)), ahead=2)
    assert next(iterator) == 0 and set(threading.enumerate()) > threads
    iterator.close()
    assert made == [0, 1, 2][: len(made)] and set(threading.enumerate()) == threads


def test_convolutions_get_their_channels_last_and_searches_agree_up_to_rounding():
    space = spaces.create("nasbench201", operations=["none", "skip_connect", "nor_conv_3x3"], reduction="pool",
                          input_size=8, width=0.25, depth=0.2)  # fmt: skip
    images = data.classification("digits", "train", image_size=8, size=64)
    task, seen = Classification(images, images), []
    supernet = space.supernet(seed=0)
    supernet.register_forward_pre_hook(
        lambda m, args: seen.append(args[0].is_contiguous(memory_format=torch.channels_last))
    )
    step = supernet_step(space, sampling.Uniform(), task)
    trained = fit(supernet, task, recipe(1), step)
    assert all(seen) and trained.model.parts["stem"].conv.weight.is_contiguous(memory_format=torch.channels_last)
    x, y = next(task.batches("train", 0))
    plain, last = space.supernet(seed=0), space.supernet(seed=0).to(memory_format=torch.channels_last)
    losses = [task.loss(m(x, (2,) * 6), y)["total"].item() for m in (plain, last)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
