"""Evaluators: recalibrated on training images, cached, put back; the same in threads and in other processes."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from nasedu import spaces
from nasedu.classification import accuracy, recipe
from nasedu.data import classification
from nasedu.errors import ArchitectureError, ParameterError, UnknownName
from nasedu.modules import evaluation_mode
from nasedu.sampling import Uniform, supernet_step
from nasedu.search import StandAlone, SupernetScore, ZeroCost, random_search
from nasedu.search.settings import SearchConfig
from nasedu.supernet.batchnorm import recalibrated
from nasedu.task import Classification, fit

TINY = {"operations": ["none", "skip_connect", "nor_conv_3x3"], "reduction": "pool", "input_size": 8}
ARCHS = [(2, 2, 2, 2, 2, 2), (1, 2, 0, 2, 1, 2), (0, 0, 0, 2, 1, 1), (2, 0, 1, 1, 0, 0), (0, 0, 0, 1, 0, 0)]


@pytest.fixture(scope="module")
def space():
    return spaces.create("nasbench201", **TINY, width=0.25, depth=0.2)


@pytest.fixture(scope="module")
def images():
    return classification("digits", "train", image_size=8, size=300)


@pytest.fixture(scope="module")
def val():
    return classification("digits", "val", image_size=8)


@pytest.fixture(scope="module")
def task(images, val):
    return Classification(images, val, batch_size=50)


@pytest.fixture(scope="module")
def supernet(space, task):
    network = space.supernet(seed=0)
    return fit(network, task, recipe(4), supernet_step(space, Uniform(), task)).model


@pytest.fixture
def evaluator(space, supernet, task):
    return SupernetScore(space, supernet, task, batches=3)


class Forwards:
    """What a network runs while this is open: for every forward, its mode, images, and its first BN's mean."""

    def __init__(self, network):
        self.network, self.seen = network, []

    def __enter__(self):
        mean = self.network.parts["stem"].bn.running_mean
        self.hook = self.network.register_forward_pre_hook(
            lambda module, args: self.seen.append((module.training, args[0], mean.clone()))
        )
        return self.seen

    def __exit__(self, *_):
        self.hook.remove()


def test_a_score_is_of_the_present_weights_and_everything_is_put_back(evaluator, supernet):
    before = {k: v.clone() for k, v in supernet.state_dict().items()}
    supernet.train()
    first = evaluator(ARCHS[1])
    assert evaluator(list(ARCHS[1])) == first
    assert supernet.training and all(torch.equal(v, before[k]) for k, v in supernet.state_dict().items())
    assert 0.1 < first <= 1
    weight = supernet.parts["stem"].conv.weight.data
    weight.neg_()
    after = evaluator(ARCHS[1])
    weight.neg_()
    assert after != first == evaluator(ARCHS[1])


@pytest.mark.parametrize("count", [1, 4])
def test_statistics_are_the_training_images_own_mean(space, supernet, task, images, val, count):
    evaluate = SupernetScore(space, supernet, task, batches=count)
    with Forwards(supernet) as seen:
        evaluate(ARCHS[0])
    calibrating = [x for training, x, _ in seen if training]
    judged = [(x, mean) for training, x, mean in seen if not training]
    assert [len(x) for x in calibrating] == [50] * count and sum(len(x) for x, _ in judged) == len(val)
    rows = {tuple(x.flatten().tolist()) for x in images.images}
    used = [tuple(x.flatten().tolist()) for batch in calibrating for x in batch]
    assert len(set(used)) == 50 * count and set(used) <= rows  # training images, none of them twice
    with torch.no_grad():
        exact = torch.stack([supernet.parts["stem"].conv(x).mean((0, 2, 3)) for x in calibrating]).mean(0)
    for _, mean in judged:
        torch.testing.assert_close(mean, exact, rtol=1e-5, atol=1e-6)


def test_scores_do_not_depend_on_what_ran_before(space, supernet, task, val):
    def fresh():
        return SupernetScore(space, supernet, task, batches=3)

    alone = [fresh()(arch) for arch in ARCHS]
    together, backwards = fresh(), fresh()
    assert [together(arch) for arch in ARCHS] == alone == [backwards(arch) for arch in reversed(ARCHS)][::-1]
    with torch.no_grad():
        for norm in (m for m in supernet.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.running_mean += 10
    try:
        assert [fresh()(arch) for arch in ARCHS] == alone
        stale = accuracy(supernet, val, lambda network, x: network(x, ARCHS[0]))
        assert stale < alone[0]  # without recalibration it would have mattered
    finally:
        with torch.no_grad():
            for norm in (m for m in supernet.modules() if isinstance(m, torch.nn.BatchNorm2d)):
                norm.running_mean -= 10


def test_statistics_are_put_back_after_an_error(supernet, images):
    before = {k: v.clone() for k, v in supernet.state_dict().items()}

    def fails(network, x):
        network(x, ARCHS[0])
        raise RuntimeError("in the midst of it")

    with pytest.raises(RuntimeError), recalibrated(supernet, [images.images[:50]], fails):
        pass
    run = lambda network, x: network(x, ARCHS[0])  # noqa: E731
    context = recalibrated(supernet, [images.images[:50]], run)
    context.__enter__()
    assert not all(torch.equal(v, before[k]) for k, v in supernet.state_dict().items())
    assert not context.__exit__(KeyError, KeyError("of the caller's"), None)
    assert all(torch.equal(v, before[k]) for k, v in supernet.state_dict().items())
    momenta = {m.momentum for m in supernet.modules() if isinstance(m, torch.nn.BatchNorm2d)}
    assert None not in momenta and len(momenta) == 1


def test_the_score_is_that_of_the_network_alone_with_the_same_statistics(space, evaluator, supernet, val):
    network = space.inherit(supernet, ARCHS[1]).train()
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # PyTorch's own cumulative average
    with torch.no_grad():
        for x in evaluator.images:
            network(x)
    with evaluation_mode(network):
        assert evaluator(ARCHS[1]) == pytest.approx(accuracy(network, val), abs=0.005)


def test_threads_and_processes_give_the_same_scores(evaluator, space, supernet, task):
    serial = [evaluator(arch) for arch in ARCHS]
    threaded = SupernetScore(space, supernet, task, batches=3)
    with ThreadPoolExecutor(4) as executor:
        assert list(executor.map(threaded, ARCHS * 3)) == serial * 3
    copied = pickle.loads(pickle.dumps(threaded))
    assert [copied(arch) for arch in ARCHS] == serial
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        assert list(executor.map(copied, ARCHS)) == pytest.approx(serial, abs=0.005)  # threads may differ there


def test_searches_take_it_and_its_errors_are_clear(evaluator, space, supernet, task):
    with ThreadPoolExecutor(2) as executor:
        result = random_search(space, evaluator, SearchConfig(budget=6), seed=0, executor=executor)
    assert result.best == random_search(space, evaluator, SearchConfig(budget=6), seed=0).best
    with pytest.raises(ArchitectureError, match="6 decisions, the architecture has 2"):
        evaluator((0, 0))
    with pytest.raises(ParameterError, match="batches must be a whole number from 1"):
        SupernetScore(space, supernet, task, batches=0)
    with pytest.raises(ParameterError, match=r"no data for 'test': give it as Classification\(test=...\)"):
        SupernetScore(space, supernet, task, "test")(ARCHS[0])


def test_stand_alone_training_depends_on_its_seed_alone(space, images, val):
    few = images.take(slice(100))
    config = recipe(2, warmup_steps=2)
    task = Classification(few, val, batch_size=10)
    train_alone = StandAlone(space, task, config)
    torch.manual_seed(1)
    scores = [train_alone(arch) for arch in ARCHS[:2]]
    torch.manual_seed(2)
    state = torch.get_rng_state()
    with ThreadPoolExecutor(2) as executor:
        assert list(executor.map(train_alone, ARCHS[:2])) == scores
    assert torch.equal(torch.get_rng_state(), state)
    others = [StandAlone(space, task, config, seed=1)(arch) for arch in ARCHS[:2]]
    assert others != scores
    assert StandAlone(space, replace(task, train=images), config)(ARCHS[0]) > max(0.4, scores[0])
    assert pickle.loads(pickle.dumps(train_alone))(ARCHS[0]) == scores[0]


@pytest.mark.parametrize("name", spaces.names())
def test_spaces_travel_to_other_processes(name):
    options = {} if name == "yolo" else {**spaces.COURSE, "depth": 0.25}
    space = spaces.create(name, **options)
    sent = pickle.loads(pickle.dumps(space))
    assert sent is not space and sent.fingerprint == space.fingerprint and sent.choices == space.choices
    if name != "yolo":
        supernet = space.supernet(seed=0)
        images = classification("digits", "val", size=20)
        evaluate = SupernetScore(space, supernet, Classification(images, images), batches=1)
        arch = (1,) * len(space.choices)
        assert pickle.loads(pickle.dumps(evaluate))(arch) == evaluate(arch)


def test_another_evaluator_does_not_go_on_with_the_scores_of_the_first(tmp_path, capsys):
    space, state = spaces.create("nasbench201", width=0.25, depth=0.2), tmp_path / "s.pt"
    images = torch.randn(4, 3, 16, 16)
    random_search(space, ZeroCost(space, "l2_norm", images), SearchConfig(budget=4), state=state)
    random_search(space, ZeroCost(space, "l2_norm", images.clone()), SearchConfig(budget=5), state=state)
    others = [("params", images, {}), ("l2_norm", images + 1, {}), ("l2_norm", images, {"seed": 1})]
    for name, batch, options in others:
        capsys.readouterr()
        random_search(space, ZeroCost(space, name, batch, **options), SearchConfig(budget=6), state=state)
        assert "s.pt was stored with other settings" in capsys.readouterr().out


def test_the_options_of_a_zero_cost_evaluator_are_checked_at_once():
    space, images = spaces.create("nasbench201", width=0.25, depth=0.2), torch.randn(4, 3, 16, 16)
    with pytest.raises(UnknownName, match="'bn'"):
        ZeroCost(space, "zen", images, bm="ema")
    with pytest.raises(UnknownName, match="'bn'"):
        ZeroCost(space, ["zen", "naswot"], images, zen={"bm": "ema"})
    with pytest.raises(UnknownName, match="'zen'"):
        ZeroCost(space, ["zen", "naswot"], images, zenn={"bn": "ema"})
