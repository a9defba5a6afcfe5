"""The published recipe, its initial weights, and a kill in mid-training with all of its draws."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nasedu import blocks
from nasedu.classification import mixup, published_augment, published_recipe, zen_init
from nasedu.data import classification
from nasedu.errors import ParameterError, UnknownName
from nasedu.task import Classification, fit
from nasedu.training import make_optimizer, schedule, train


class Residual(nn.Module):
    """x + a branch that ends in a normalisation; the shortcut's own is registered last."""

    def __init__(self, channels: int, residual: bool = True):
        super().__init__()
        self.residual = residual
        self.branch = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels))

    def forward(self, x):
        return torch.relu(self.branch(x) + self.shortcut(x)) if self.residual else self.branch(x)


def net(residual: bool = True) -> nn.Sequential:
    stem = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()
    return nn.Sequential(*stem, Residual(8, residual), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))


def test_the_published_schedule():
    config = published_recipe(1440, 64, 50_000)
    steps = 5 * (50_000 // 64)
    assert schedule(config, 0, 0) == (0.0, 0.0, 0.9)
    assert schedule(config, steps // 2, 0) == pytest.approx((0.0125, 0.0125, 0.9), rel=1e-3)
    assert schedule(config, steps, 0) == pytest.approx((0.025, 0.025, 0.9))
    assert schedule(config, 10**6, 720)[0] == pytest.approx(0.0125) and schedule(config, 10**6, 1440)[0] == 0.0
    optimizer = make_optimizer(net(), config)
    assert optimizer.defaults["nesterov"] and [g["weight_decay"] for g in optimizer.param_groups] == [5e-4, 0, 0]
    assert all(p.ndim > 1 for p in optimizer.param_groups[0]["params"])
    assert published_recipe(480, 256, 10_000, weight_decay=4e-5).weight_decay == 4e-5


def test_gradients_are_not_clipped():
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    config = published_recipe(1, 256, 256, warmup_epochs=0, weight_decay=0.0)
    train(model, lambda epoch: [0], lambda model, batch, generator: {"total": 1000 * model.weight.sum()}, config)
    assert float(model.weight.detach()) == pytest.approx(-0.1 * 1000 * 1.9)  # Nesterov: 1 + .9 gradients


def test_bad_recipes():
    with pytest.raises(UnknownName, match="did you mean 'clip'"):
        published_recipe(10, 64, 1000, clipp=1.0)
    with pytest.raises(ParameterError, match="below the 5 epochs"):
        published_recipe(5, 64, 1000)
    with pytest.raises(ParameterError, match="at least 1 image"):
        published_recipe(10, 0, 1000)


def test_initial_weights():
    model = zen_init(net(), torch.Generator().manual_seed(0), bn_momentum=0.01)
    again = zen_init(net(), torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    wide = zen_init(nn.Sequential(nn.Conv2d(64, 128, 3)), torch.Generator().manual_seed(0))[0]
    assert float(wide.weight.detach().std()) == pytest.approx(3.26033 * math.sqrt(2 / (9 * 192)), rel=0.02)
    assert float(wide.bias.detach().abs().max()) == 0
    block = model[3]
    assert (block.branch[4].weight == 0).all() and (block.branch[1].weight == 1).all()
    assert (block.shortcut[1].weight == 1).all() and model[1].momentum == 0.01 and again[1].momentum == 0.1
    plain = zen_init(net(residual=False), torch.Generator().manual_seed(0))
    assert (plain[3].branch[4].weight == 1).all()  # without its shortcut a zero would silence the network


def test_initial_weights_leave_the_global_state_alone():
    model = net()
    before = torch.get_rng_state()
    zen_init(model, torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)


class Killed(Exception):
    pass


def test_a_killed_training_with_every_draw_ends_where_it_would_have_ended(tmp_path):
    images = classification("digits", "train", size=96, image_size=16)
    how = {"augment": published_augment(images), "mix": mixup(10), "label_smoothing": 0.1}
    task = Classification(images, batch_size=32, seed=2, **how)
    config = published_recipe(4, 32, 96, warmup_epochs=1, save_seconds=0)

    def run(state=None, progress=lambda *_: None, seed=0):
        model = zen_init(net(), torch.Generator().manual_seed(seed))
        return fit(model, task, config, state=state, progress=progress)

    def kill(epoch, *_):
        if epoch == 2:
            raise Killed

    state = tmp_path / "state.pt"
    with pytest.raises(Killed):
        run(state, kill)
    torch.manual_seed(77)
    resumed, whole = run(state), run()
    assert resumed.history == whole.history
    for ours, theirs in ((resumed.model, whole.model), (resumed.ema, whole.ema)):
        assert all(
            torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
        )


def test_a_stack_of_plain_residuals_starts_as_its_stem():
    unit = blocks.Residual((blocks.Conv(64, 64, 3), blocks.Conv(64, 64, 3, act=None)))
    model = blocks.plain_modules([blocks.Conv(3, 64, 3), unit, unit])
    zen_init(model, torch.Generator().manual_seed(0))
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(model(x), model[0](x)), "the last BN of a residual body is at zero"
