"""Every decay against its formula, by epochs and by batches."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nasedu.errors import ParameterError, UnknownName
from nasedu.training import TrainingConfig, train
from nasedu.training.schedule import schedule

PLAIN = {"epochs": 10, "lr": 2.0, "warmup_steps": 0, "final_lr": 0.1}


def rates(steps, epochs, **settings):
    """The learning rate at every step of `steps`, of which an epoch has steps // epochs."""
    config = TrainingConfig(**PLAIN | settings)
    return [schedule(config, step, step * epochs // steps)[0] for step in range(steps)]


def test_a_line_falls_evenly_to_its_end():
    found = rates(10, 10, decay="linear")
    assert found == pytest.approx([2.0 - 0.18 * epoch for epoch in range(10)])
    assert schedule(TrainingConfig(**PLAIN, decay="linear"), 99, 10)[0] == pytest.approx(0.2)


def test_steps_are_those_of_pytorchs_scheduler():
    settings = {"decay": "step", "milestones": (3, 7), "factor": 0.3}
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=2.0)
    theirs, scheduler = [], torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 7], 0.3)
    for _ in range(10):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates(10, 10, **settings) == pytest.approx(theirs)


def public(step, batch=64, images=640, epochs=10, warmup=2, lr=2.0, target=0.2, mode="cosine"):
    """Zen-NAS's public scheduler, by images that have been seen before the step; it counts one image more."""
    seen, stop, warm = step * batch, epochs * images, warmup * images
    if seen < warm:
        return seen / warm * lr
    ratio = (seen - warm) / (stop - warm)
    return lr + (target - lr) * ((1 - math.cos(math.pi * ratio)) / 2 if mode == "cosine" else ratio)


@pytest.mark.parametrize("mode", ["cosine", "linear"])
def test_by_batches_it_is_the_public_schedule(mode):
    found = rates(100, 10, decay=mode, warmup_steps=20, decay_steps=100)
    assert found == pytest.approx([public(step, mode=mode) for step in range(100)])
    assert len(set(found)) > 90, "it moves with every batch"
    by_epochs = rates(100, 10, decay=mode, warmup_steps=20)
    assert max(abs(a - b) for a, b in zip(found, by_epochs, strict=True)) > 0.1


def test_a_training_follows_it():
    seen, model = [], nn.Linear(1, 1, bias=False)

    def step(model, batch, generator):
        seen.append(float(model.weight.detach()))
        return {"total": model.weight.sum()}

    still = {"momentum": 0.0, "warmup_momentum": 0.0, "weight_decay": 0.0, "clip": math.inf}
    config = TrainingConfig(**PLAIN | still | {"epochs": 2, "decay": "linear", "decay_steps": 6})
    trained = train(model, lambda epoch: range(3), step, config)
    weights = [*seen, float(trained.model.weight.detach())]
    moved = [a - b for a, b in zip(weights, weights[1:], strict=False)]
    assert moved == pytest.approx([2.0 - 1.8 * step / 6 for step in range(6)], rel=1e-4)


def test_bad_schedules_are_named():
    with pytest.raises(UnknownName, match="did you mean 'cosine'"):
        TrainingConfig(decay="cosin")
    with pytest.raises(ParameterError, match="these are for 'step'"):
        TrainingConfig(milestones=(3,))
    with pytest.raises(ParameterError, match="these are for 'step'"):
        TrainingConfig(decay="step")
    for wrong in ((7, 3), (0,), (1.5,)):
        with pytest.raises(ParameterError, match="milestone"):
            TrainingConfig(decay="step", milestones=wrong)
