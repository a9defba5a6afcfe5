"""Gradient search: who learns from what, that it is repeatable, goes on after a kill, and obeys its hardware term."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nasedu import spaces
from nasedu.classification import recipe
from nasedu.data import classification
from nasedu.errors import ParameterError, TableError, TrainingDiverged, UnknownName
from nasedu.sampling import softmax
from nasedu.search import GradientConfig, gradient_search
from nasedu.search.gradient import RELAXATIONS, unrolled_loss
from nasedu.supernet.mixed import MixedOp
from nasedu.tables import Budget, LookupTable, losses
from nasedu.task import Classification

TINY = {"operations": ["none", "skip_connect", "nor_conv_3x3"], "reduction": "pool", "input_size": 8}
CONFIG = GradientConfig(epochs=3, warmup_epochs=1, arch_lr=0.1)
FROZEN = 1e-12  # a learning rate that moves nothing


@pytest.fixture(scope="module")
def space():
    return spaces.create("nasbench201", **TINY, width=0.25, depth=0.2)


@pytest.fixture(scope="module")
def images():
    return classification("digits", "train", image_size=8, size=64)


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def flat(path):
    return torch.cat(list(path))


def search(space, images, **options):
    return gradient_search(space, Classification(images, batch_size=16), **options)


def with_noise(images, half, seed=0):
    """Other images in one of the halves that a search of this seed makes."""
    numbered = replace(images, images=torch.arange(len(images)), labels=torch.arange(len(images)))
    index = numbered.halves(seed)[half].labels
    assert len(set(index.tolist()) & set(numbered.halves(seed)[1 - half].labels.tolist())) == 0
    pixels = images.images.clone()
    pixels[index] = torch.randn(pixels[index].shape, generator=torch.Generator().manual_seed(5))
    return replace(images, images=pixels)


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_weights_learn_from_one_half_alone(space, images, relaxation):
    config = replace(CONFIG, relaxation=relaxation, warmup_epochs=0, epochs=2, arch_lr=FROZEN)
    plain = search(space, images, settings=config)
    other_held_out = search(space, with_noise(images, 1), settings=config)
    other_own = search(space, with_noise(images, 0), settings=config)
    torch.testing.assert_close(weights(other_held_out.supernet), weights(plain.supernet), rtol=0, atol=1e-5)
    assert (weights(other_own.supernet) - weights(plain.supernet)).abs().max() > 1e-3


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_logits_learn_from_the_other_half_and_move_no_weight(space, images, relaxation):
    config = replace(CONFIG, relaxation=relaxation, warmup_epochs=0, epochs=2, training=recipe(2, lr=FROZEN))
    plain = search(space, images, settings=config)
    other_own = search(space, with_noise(images, 0), settings=config)
    other_held_out = search(space, with_noise(images, 1), settings=config)
    torch.testing.assert_close(flat(other_own.path), flat(plain.path), rtol=0, atol=1e-4)
    assert (flat(other_held_out.path) - flat(plain.path)).abs().max() > 1e-2
    start = weights(space.supernet(seed=0))
    torch.testing.assert_close(weights(plain.supernet), start, rtol=0, atol=1e-6)
    assert (flat(plain.path) - 1 / 3).abs().max() > 0.02


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_every_relaxation_searches_alike_whatever_the_global_state(space, images, relaxation):
    config = replace(CONFIG, relaxation=relaxation, epochs=2)
    torch.manual_seed(1)
    first = search(space, images, settings=config)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = search(space, images, settings=config)
    assert torch.equal(torch.get_rng_state(), state)
    assert again.history == first.history and again.best == first.best and again.score == first.score
    assert torch.equal(flat(again.path), flat(first.path))
    other = search(space, images, settings=config, seed=1)
    assert not torch.equal(flat(other.path), flat(first.path))
    for p in first.path:
        assert p.shape == (3,) and float(p.sum()) == pytest.approx(1, abs=1e-5)
    assert first.best == tuple(int(p.argmax()) for p in first.path) and 0 <= first.score <= 1
    assert first.space is space and first.seconds > 0


def test_logits_wait_for_the_end_of_the_warm_up(space, images):
    config = replace(CONFIG, epochs=4, warmup_epochs=2, relaxation="gumbel", temperature=(5.0, 0.5))
    history = search(space, images, settings=config).history
    assert [record["epoch"] for record in history] == [1, 2, 3, 4]
    for record in history[:2]:
        assert "arch_loss" not in record and record["arch"] == (0,) * 6
        assert record["entropy"] == pytest.approx(math.log(3), abs=1e-6)
        torch.testing.assert_close(torch.tensor(record["probabilities"]), torch.full((6, 3), 1 / 3))
    for record in history[2:]:
        assert record["entropy"] < math.log(3) - 1e-4 and 0 < record["arch_loss"] < 10 and record["total"] > 0
        assert record["arch"] == tuple(max(range(3), key=p.__getitem__) for p in record["probabilities"])
    assert [record["temperature"] for record in history] == pytest.approx([5.0, 5.0, 5.0, 0.5])


def test_the_weights_settings_keep_the_epochs_of_the_search(space, images):
    config = replace(CONFIG, epochs=2, training=recipe(30, lr=0.003))
    assert len(search(space, images, settings=config).history) == 2


@pytest.mark.parametrize("size", [62, 63, 33, 3])
def test_halves_of_any_size_search(space, images, size):
    """63 images are 31 and 32: one batch of 16 for one half and two for the other."""
    result = search(space, images.take(slice(size)), settings=replace(CONFIG, epochs=1, warmup_epochs=0))
    assert len(result.history) == 1


class Killed(Exception):
    pass


def kill_after(epochs):
    def progress(epoch, *_):
        if epoch == epochs:
            raise Killed

    return progress


SAVING = {"training": recipe(3, save_seconds=0)}


@pytest.mark.parametrize("relaxation", ["gumbel", "two_gates"])
def test_an_interrupted_search_ends_where_it_would_have_ended(space, images, tmp_path, relaxation):
    config, state = replace(CONFIG, **SAVING, relaxation=relaxation), tmp_path / "state.pt"
    with pytest.raises(Killed):
        search(space, images, settings=config, state=state, progress=kill_after(2))
    epochs = []
    resumed = search(space, images, settings=config, state=state, progress=lambda e, *_: epochs.append(e))
    whole = search(space, images, settings=config)
    done = search(space, images, settings=config, state=state, progress=kill_after(3))
    assert epochs == [3]
    for other in (resumed, done):
        assert (other.best, other.score, other.history) == (whole.best, whole.score, whole.history)
        assert torch.equal(flat(other.path), flat(whole.path))
        assert torch.equal(weights(other.supernet), weights(whole.supernet))


SCRIPT = """
import os, signal, sys, torch
from nasedu import spaces
from nasedu.classification import recipe
from nasedu.data import classification
from nasedu.search import GradientConfig, gradient_search
from nasedu.task import Classification
torch.set_num_threads(1)
space = spaces.create("nasbench201", operations=["none", "skip_connect", "nor_conv_3x3"], reduction="pool",
                      input_size=8, width=0.25, depth=0.2)
config = GradientConfig(epochs=3, warmup_epochs=1, arch_lr=0.1, training=recipe(3, save_seconds=0))
task = Classification(classification("digits", "train", image_size=8, size=64), batch_size=16)
gradient_search(space, task, settings=config, state=sys.argv[1],
                progress=lambda epoch, *_: epoch == 2 and os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_killed_process_goes_on(space, images, tmp_path):
    state = tmp_path / "state.pt"
    dead = subprocess.run([sys.executable, "-c", SCRIPT, str(state)], capture_output=True, timeout=120)
    assert dead.returncode == -9, dead.stderr.decode()
    epochs, config = [], replace(CONFIG, **SAVING)
    resumed = search(space, images, settings=config, state=state, progress=lambda e, *_: epochs.append(e))
    whole = search(space, images, settings=config)
    assert epochs == [3] and resumed.best == whole.best
    torch.testing.assert_close(flat(resumed.path), flat(whole.path), rtol=0, atol=1e-3)  # threads may differ


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_a_strong_hardware_term_leads_to_the_cheapest_cell(space, images, relaxation):
    table = LookupTable.build(space, "macs")
    low, high = table.bounds()
    blank = replace(images, images=torch.zeros_like(images.images))
    config = replace(CONFIG, relaxation=relaxation, epochs=4, warmup_epochs=0, arch_lr=0.2)
    seen = []

    def cheap(task, path):
        seen.append([p.detach() for p in path])
        return task + 100 * table.expected(path) / high

    def dear(task, path):
        return 2 * task - cheap(task, path)

    assert table(search(space, blank, settings=config, hardware=cheap).best) == low
    assert table(search(space, blank, settings=config, hardware=dear).best) == high
    for path in seen[:: len(seen) // 5]:
        assert [p.shape for p in path] == [(3,)] * 6
        torch.testing.assert_close(torch.stack(path).sum(1), torch.ones(6))


def test_a_multiplier_is_learnt_stored_and_resumed(space, images, tmp_path):
    """Over a budget that nothing meets it rises by rho * excess of the most probable cell, step by step."""
    table = LookupTable.build(space, "macs")
    budget = Budget([(table, table.bounds()[0] / 2, losses.create("lagrange", rho=0.1)), (table, 1e9, "hinge")])
    config, state = replace(CONFIG, **SAVING), tmp_path / "state.pt"
    with pytest.raises(Killed):
        search(space, images, settings=config, hardware=budget, state=state, progress=kill_after(2))
    resumed = search(space, images, settings=config, hardware=budget, state=state)
    whole = search(space, images, settings=config, hardware=budget)
    assert resumed.history == whole.history and torch.equal(flat(resumed.path), flat(whole.path))
    multipliers = [record["budget"][0]["multiplier"] for record in whole.history]
    assert multipliers[0] == 0 < multipliers[1] < multipliers[2] and whole.history[2]["budget"][1] == {}
    assert budget.learnt()[0]["multiplier"] == 0  # what was handed in is as it was
    assert whole.costs == {"macs": table(whole.best)}


def test_a_loss_that_multiplies_gets_the_task_loss(space, images):
    table = LookupTable.build(space, "macs")
    seen = []

    class Watched(Budget):
        def __call__(self, task, path):
            seen.append((float(task.detach()), float(super().__call__(task, path).detach())))
            return super().__call__(task, path)

        def fresh(self):
            return self

    config = replace(CONFIG, epochs=1, warmup_epochs=0)
    budget = Watched([(table, table.bounds()[1], losses.create("fbnet", alpha=1.0, beta=1.0))])
    search(space, images, settings=config, hardware=budget)
    factors = [total / task for task, total in seen]
    assert all(0 < factor < 1 for factor in factors) and min(task for task, _ in seen) > 0.5


class Two(nn.Module):
    """Two decisions of three linear maps each, in double precision: (B, 4) to (B, 3)."""

    def __init__(self):
        super().__init__()
        self.mixed = nn.ModuleList(MixedOp(nn.Linear(4, 4) for _ in range(3)) for _ in range(2))
        self.head = nn.Linear(4, 3)
        self.double()

    def forward(self, x, path):
        for mixed, entry in zip(self.mixed, path, strict=True):
            x = torch.tanh(mixed(x, entry))
        return self.head(x)


def problem():
    generator = torch.Generator().manual_seed(0)

    def batch(n):
        x = torch.randn(n, 4, generator=generator, dtype=torch.float64)
        return x, torch.randint(3, (n,), generator=generator)

    torch.manual_seed(0)
    alpha = [torch.randn(3, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    return Two(), alpha, batch(12), batch(9)


def test_the_second_order_gradient_is_that_of_the_loss_after_a_step():
    """Against finite differences of a step that is really taken; the first-order gradient is another."""
    model, alpha, own, held_out = problem()
    start, lr = copy.deepcopy(model.state_dict()), 0.7
    loss = unrolled_loss(model, softmax(alpha), Classification(None), own, held_out, lr)
    second = torch.cat(torch.autograd.grad(loss, alpha))
    first = torch.cat(torch.autograd.grad(F.cross_entropy(model(held_out[0], softmax(alpha)), held_out[1]), alpha))
    assert all(torch.equal(v, start[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())

    def after_a_step(flat_alpha):
        path = softmax(flat_alpha.view(2, 3).unbind())
        stepped = copy.deepcopy(model)
        F.cross_entropy(stepped(own[0], path), own[1]).backward()
        with torch.no_grad():
            for p in stepped.parameters():
                p -= lr * p.grad
            return float(F.cross_entropy(stepped(held_out[0], path), held_out[1]))

    at, h = torch.cat([a.detach() for a in alpha]), 1e-5
    steps = h * torch.eye(6, dtype=torch.float64)
    numeric = torch.tensor([(after_a_step(at + s) - after_a_step(at - s)) / (2 * h) for s in steps]).double()
    assert float(loss.detach()) == pytest.approx(after_a_step(at), abs=1e-12)
    torch.testing.assert_close(second, numeric, rtol=1e-5, atol=1e-8)
    assert (first - second).abs().max() > 0.05 * second.abs().max()


@pytest.mark.parametrize("relaxation", ["softmax", "gates", "two_gates"])
def test_second_order_searches_differ_from_first_order(space, images, relaxation):
    config = replace(CONFIG, relaxation=relaxation, epochs=2, second_order=True)
    first = search(space, images, settings=replace(config, second_order=False))
    second = search(space, images, settings=config)
    assert (flat(first.path) - flat(second.path)).abs().max() > 1e-4


def test_two_gates_leave_what_they_did_not_draw(space, images):
    """Also where Adam's momentum of an earlier draw would move it: of three choices, one always stays."""
    seen = []

    def watch(loss, path):
        seen.append(torch.stack([p.detach().clone() for p in path]))
        return loss

    config = GradientConfig("two_gates", epochs=4, warmup_epochs=0, arch_lr=0.3, arch_weight_decay=0.1)
    search(space, images, settings=config, hardware=watch)
    moved = (torch.stack(seen).diff(dim=0).abs() > 1e-6).sum(-1)
    assert len(seen) == 8 and {2} <= set(moved.flatten().tolist()) <= {0, 2}  # 0: what was drawn is cut off


def test_bad_settings_are_refused():
    with pytest.raises(UnknownName, match="unknown relaxation 'softmx': did you mean 'softmax'"):
        GradientConfig(relaxation="softmx")
    for bad in ({"epochs": 0, "warmup_epochs": 0}, {"epochs": 3, "warmup_epochs": 4}, {"warmup_epochs": -1}):
        with pytest.raises(ParameterError, match=r"epochs.* must be a whole number"):
            GradientConfig(**bad)
    for bad in ({"arch_lr": 0}, {"temperature": (5.0, 0.0)}, {"temperature": (math.nan, 1.0)}, {"arch_lr": "1"}):
        with pytest.raises(ParameterError, match="must be a number above 0"):
            GradientConfig(**bad)
    for bad in ({"temperature": 5.0}, {"temperature": (5.0,)}, {"training": 30}, {"training": "adamw"}):
        with pytest.raises(ParameterError, match=f"{next(iter(bad))} must be a"):
            GradientConfig(**bad)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"task": None}, "the task must be a task.Classification .* got None"),
        ({"task": sum}, "the task must be a task.Classification .* got builtin_function"),
        ({"hardware": 5}, "hardware must be a tables.Budget or a function .* got 5"),
        ({"seed": 1.5}, "seed must be a whole number from 0, got 1.5"),
        ({"settings": {"epochs": 3}}, "settings of gradient_search must be a GradientConfig, got dict"),
        ({"space": spaces.create("plainnet")}, "space of gradient_search must be .* lists of decisions"),
        ({"hardware": lambda loss, path: 1.0}, "hardware must return a loss, one number with a gradient, got 1.0"),
        ({"hardware": lambda loss, path: loss.detach()}, "one number with a gradient, got Tensor"),
    ],
)
def test_wrong_arguments_are_refused_in_one_sentence(space, images, wrong, words):
    given = {"space": space, "task": Classification(images, batch_size=16), "settings": CONFIG} | wrong
    with pytest.raises(ParameterError, match=words) as caught:
        gradient_search(**given)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_hook_that_is_not_finite_is_named(space, images, bad):
    with pytest.raises(TrainingDiverged, match=f"hardware makes of the task loss of the logits is {bad} in epoch 2"):
        search(space, images, settings=CONFIG, hardware=lambda loss, path: loss * bad)


def test_tables_of_another_space_are_refused_before_the_search(space, images):
    other = spaces.create("nasbench201", **TINY | {"input_size": 16}, width=0.25, depth=0.2)
    macs = LookupTable.build(other, "macs")
    with pytest.raises(TableError, match="it is to price nasbench201 at"):
        search(space, images, settings=CONFIG, hardware=Budget([(macs, 1e6, "hinge")]))
