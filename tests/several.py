"""A program that torchrun starts: it trains what it is told to, and each of its processes writes down what came out.

`several.py FOLDER JOB...`, where a job is a name of `JOBS`; `JOB.pt` in the folder is its checkpoint.
"""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from nasedu import data, processes, sampling, spaces, wzdnas
from nasedu.errors import NaseduError
from nasedu.search import GradientConfig, gradient_search
from nasedu.task import Classification, fit
from nasedu.training import Log, TrainingConfig, train

SGD = TrainingConfig(epochs=3, lr=0.02, warmup_steps=4, weight_decay=0.1, ema_decay=0.9, ema_ramp=5, save_seconds=0)
SPACE = {"operations": ["none", "skip_connect", "nor_conv_3x3"], "reduction": "pool", "input_size": 8}


def network(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10))


def digits(size=32, **options):
    return Classification(data.classification("digits", "train", image_size=8, size=size), **options)


def classifier(state, progress, model=None, **changes):
    task = digits(batch_size=8, label_smoothing=0.1)
    config = replace(SGD, **{"sync_bn": True, "accumulate": 2.0} | changes)
    return fit(model or network(), task, config, state=state, progress=progress)


def detector(state, progress, pooled=True):
    space = spaces.create("yolo:course", image_size=64)
    scenes = data.detection("digits", "train", size=4, image_size=64)
    # AdamW would make a whole step of a gradient that is but rounding
    settings = {"optimizer": "sgd", "lr": 0.01, "sync_bn": True, "batch_size": 4, "pooled": pooled}
    config = wzdnas.recipe("short", epochs=2, flip=False, **settings)
    task = wzdnas.detection_task(space, config, scenes, seed=3)
    model = space.build(space.hand_designed, seed=0)
    return fit(model, task, config.training, state=state, progress=progress)


class Doubled(Classification):
    """In float64, where rounding hides nothing."""

    def batches(self, split, epoch):
        return ((x.double(), y) for x, y in super().batches(split, epoch))


def supernet(state, progress, **changes):
    space = spaces.create("nasbench201", **SPACE, width=0.25, depth=0.2)
    task = Doubled(digits().train, batch_size=8)
    step = sampling.supernet_step(space, sampling.Uniform(2), task)
    config = replace(SGD, epochs=2, **{"sync_bn": True} | changes)
    return fit(space.supernet(seed=0).double(), task, config, step, state=state, progress=progress)


def searched(state, progress):
    space = spaces.create("nasbench201", **SPACE, width=0.25, depth=0.2)
    config = GradientConfig(epochs=2, warmup_epochs=1, arch_lr=0.1, training=replace(SGD, sync_bn=True))
    return gradient_search(space, digits(batch_size=8), config, state=state, progress=progress)


def kept(batches, paths):
    """A step that keeps what its generator draws."""

    def step(model, batch, generator):
        drawn.append(int(torch.randint(1000, (), generator=generator)))
        return {"total": model(batch).square().mean()}

    drawn = []
    trained = train(nn.Linear(2, 1), batches, step, replace(SGD, epochs=1, paths=paths))
    trained.history[0]["drawn"] = drawn
    return trained


def own_task(state, progress):
    task = digits(batch_size=8)
    task = type("Own", (), {"loss": task.loss, "batches": task.batches, "score": task.score})()
    return fit(network(), task, SGD)


def alone(numbers):
    """`average_gradients` where only some processes have some."""
    team = processes.together("cpu")
    ours = [nn.Parameter(torch.zeros(2, dtype=dtype)) for dtype in (torch.float32, torch.float64, torch.float32)]
    for rank, parameter in enumerate(ours[:2]):
        if team.rank == rank:
            parameter.grad = torch.full_like(parameter, numbers)
    team.average_gradients(ours)
    return {"grads": [p.grad if p.grad is None else p.grad.tolist() for p in ours]}


def stopped(state, progress):
    """A hundred thousand epochs."""
    task = digits(4, batch_size=4)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
    return fit(model, task, replace(SGD, epochs=100_000), state=state, progress=progress)


def rank():
    return processes.together("cpu").rank


JOBS = {
    "classifier": classifier,
    "detector": detector,
    "published_loss": lambda state, progress: detector(state, progress, pooled=False),
    "supernet": supernet,
    "search": searched,
    "resumed": classifier,
    "logged": lambda state, progress: logged(Path(state).parent),
    "own_bn": lambda state, progress: classifier(state, progress, sync_bn=False),
    "different": lambda state, progress: supernet(state, progress, sync_bn=False, paths="different"),
    "drawn_same": lambda state, progress: kept(lambda epoch: torch.ones(3, 4, 2), "same"),
    "drawn_different": lambda state, progress: kept(lambda epoch: torch.ones(3, 4, 2), "different"),
    "fresh": lambda state, progress: classifier(state, progress, network(rank())),
    "gradients": lambda state, progress: alone(4.0),
    "other_seeds": lambda state, progress: train(network(), lambda epoch: [], lambda *_: {}, SGD, seed=rank()),
    "uneven": lambda state, progress: fit(network(), digits(batch_size=5), SGD),
    "own_task": own_task,
    "elsewhere": lambda state, progress: classifier(Path(state).with_suffix(f".{rank()}"), progress),
    "stopped": stopped,
}


def logged(folder):
    with Log(folder / "log") as log:
        return classifier(None, log)


def told(outcome):
    """What came out, as plain values."""
    if isinstance(outcome, dict):
        return outcome
    if hasattr(outcome, "path"):
        return {"history": outcome.history, "logits": torch.cat(outcome.path).tolist(), "best": list(outcome.best)}
    models = {"model": outcome.model, "ema": outcome.ema}
    tensors = {name: [*model.parameters(), *model.buffers()] for name, model in models.items()}
    flat = {name: torch.cat([t.detach().double().flatten() for t in ts]).tolist() for name, ts in tensors.items()}
    return {"history": outcome.history, **flat}


def run(folder, name):
    """A job's outcome, or the sentence that ended it, and the notes that this process's progress heard."""
    heard = []
    try:
        outcome = told(JOBS[name](folder / f"{name}.pt", lambda *said: heard.append(list(said[:2]))))
    except NaseduError as error:
        outcome = {"error": f"{type(error).__name__}: {error}"}
    return outcome | {"heard": heard}


def main(folder, names):
    found = {name: run(folder, name) for name in names}
    number = next(n for n in itertools.count() if not (folder / f"{rank()}-{n}.json").exists())
    (folder / f"{rank()}-{number}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
