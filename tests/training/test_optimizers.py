"""Every optimizer against the update that its paper writes, in plain Python."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nasedu.errors import UnknownName
from nasedu.training import TrainingConfig
from nasedu.training.loop import make_optimizer
from nasedu.training.optimizers import OPTIMIZERS

LR, M, WD = 0.1, 0.8, 0.03
GRADIENTS = [0.7, -0.2, 1.5, 0.01, -0.9, 0.4]


def sgd(w, nesterov=True):
    """v <- m v + g; w <- w - lr (g + m v) looks ahead, w - lr v does not."""
    v = 0.0
    for i, g in enumerate(GRADIENTS):
        g += WD * w
        v = M * v + g if i else g
        w -= LR * (g + M * v if nesterov else v)
    return w


def adam(w, b1=0.9, b2=0.999, eps=1e-8, beside=False):
    """Kingma and Ba, algorithm 1; with `beside`, Loshchilov and Hutter's decay, algorithm 2."""
    m = v = 0.0
    for t, g in enumerate(GRADIENTS, 1):
        w, g = (w - LR * WD * w, g) if beside else (w, g + WD * w)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        w -= LR * (m / (1 - b1**t)) / (math.sqrt(v / (1 - b2**t)) + eps)
    return w


def rmsprop(w, alpha=0.9, eps=1e-8):
    square = v = 0.0
    for g in GRADIENTS:
        g += WD * w
        square = alpha * square + (1 - alpha) * g * g
        v = M * v + g / (math.sqrt(square) + eps)
        w -= LR * v
    return w


def adadelta(w, rho=0.9, eps=1e-9):
    """Zeiler, algorithm 1; the rate multiplies the step."""
    square = moved = 0.0
    for g in GRADIENTS:
        g += WD * w
        square = rho * square + (1 - rho) * g * g
        step = math.sqrt(moved + eps) / math.sqrt(square + eps) * g
        moved = rho * moved + (1 - rho) * step * step
        w -= LR * step
    return w


TEXTBOOK = {
    "sgd": sgd,
    "adam": adam,
    "adamw": lambda w: adam(w, b2=0.99, beside=True),
    "rmsprop": rmsprop,
    "adadelta": adadelta,
}


def moved(name, **changes):
    """The weight after the gradients, one step each."""
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    model.weight.data.fill_(2.0)
    optimizer = make_optimizer(model, TrainingConfig(optimizer=name, lr=LR, momentum=M, weight_decay=WD, **changes))
    for g in GRADIENTS:
        model.weight.grad = torch.full_like(model.weight, g)
        optimizer.step()
    return float(model.weight.detach())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_few_steps_are_those_of_the_paper(name):
    assert moved(name) == pytest.approx(TEXTBOOK[name](2.0), rel=1e-12)
    others = {round(moved(other), 9) for other in OPTIMIZERS}
    assert len(others) == len(OPTIMIZERS), "no name stands for another's update"


def test_momentum_may_be_the_heavy_balls():
    assert moved("sgd", nesterov=False) == pytest.approx(sgd(2.0, nesterov=False), rel=1e-12)
    assert moved("sgd", nesterov=False) != pytest.approx(moved("sgd"), rel=1e-3)


def test_without_momentum_there_is_nothing_to_look_ahead_to():
    model = nn.Linear(1, 1)
    assert not make_optimizer(model, TrainingConfig(momentum=0.0)).defaults["nesterov"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_only_weights_decay(name):
    optimizer = make_optimizer(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), TrainingConfig(optimizer=name))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [5e-4, 0.0, 0.0]


def test_a_misspelt_one_is_named():
    with pytest.raises(UnknownName, match="did you mean 'rmsprop'"):
        TrainingConfig(optimizer="rmsprob")
