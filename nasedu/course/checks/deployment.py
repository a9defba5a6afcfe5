"""Checkers for notebook 16: folding, scales of whole numbers, letterbox, a warm device, faults of several processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from nasedu.course.checks import ask, close, exercise, expect, require
from nasedu.data.images import letterbox, unletterbox


@exercise("16.1", "fold batch normalisation")
def check_fold(fold: Callable[[nn.Conv2d, nn.BatchNorm2d], tuple[Tensor, Tensor]]) -> None:
    """`fold(conv, norm)`: weight and bias of one convolution that does what both do in evaluation mode."""
    draw = torch.Generator().manual_seed(0)
    for groups, biased, about in (
        (1, False, "a dense convolution without a bias"),
        (1, True, "a convolution with a bias of its own"),
        (3, False, "a convolution in 3 groups"),
        (6, True, "a depthwise convolution"),
    ):
        conv, norm = nn.Conv2d(6, 12, 3, groups=groups, bias=biased), nn.BatchNorm2d(12, eps=0.1).eval()
        for tensor in (*conv.parameters(), *norm.parameters(), norm.running_mean):
            tensor.data = torch.randn(tensor.shape, generator=draw)
        norm.running_var = torch.rand(12, generator=draw) + 0.01
        weight, bias = (torch.as_tensor(part).detach() for part in ask(fold, conv, norm))
        keep = f"{about}: weight and bias keep their shapes, got {tuple(weight.shape)} and {tuple(bias.shape)}"
        require(weight.shape == conv.weight.shape and bias.shape == (12,), keep)
        x = torch.randn(2, 6, 5, 5, generator=draw)
        with torch.no_grad():
            want, got = norm(conv(x)), nn.functional.conv2d(x, weight, bias, groups=groups)
            still = nn.functional.conv2d(0 * x, weight, bias, groups=groups)
            require(close(got - still, want - norm(conv(0 * x))), f"{about}: {_weight_fault(conv, norm, weight)}")
            expect(still, norm(conv(0 * x)), f"{about}: {_bias_fault(conv, norm, bias)}")


def _weight_fault(conv: nn.Conv2d, norm: nn.BatchNorm2d, weight: Tensor) -> str:
    """Which mistake makes this weight."""
    column = (-1, 1, 1, 1)
    for scale, fault in (
        (norm.weight / norm.running_var.sqrt(), "eps belongs to the variance, under the root"),
        (norm.weight / (norm.running_var + norm.eps), "divide by the standard deviation, not by the variance"),
        (1 / (norm.running_var + norm.eps).sqrt(), "γ is missing in the weight"),
        (torch.ones(12), "the weight is not scaled"),
    ):
        if close(weight, conv.weight * scale.reshape(column)):
            return fault
    return "every output channel's weight is scaled by its own γ / √(σ² + eps)"


def _bias_fault(conv: nn.Conv2d, norm: nn.BatchNorm2d, bias: Tensor) -> str:
    """Which mistake makes this bias."""
    scale, own = norm.weight / (norm.running_var + norm.eps).sqrt(), conv.bias if conv.bias is not None else 0
    if close(bias, norm.bias - norm.running_mean * scale):
        return "the convolution's own bias is lost: it is scaled, too"
    if close(bias, norm.bias + own - norm.running_mean * scale):
        return "the convolution's own bias passes through the normalisation, so it is scaled, too"
    return "the bias is β + (the convolution's own - μ) γ / √(σ² + eps)"


@exercise("16.2", "a scale for every channel")
def check_quantise(quantise: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
    """`quantise(weight)`: int8 of the same shape, and scales (channels,), so that scale * int8 is the weight again."""
    draw = np.random.default_rng(0)
    for shape in ((8, 4, 3, 3), (5, 1, 3, 3), (6, 10)):
        weight = draw.normal(size=shape) * 10.0 ** draw.integers(-4, 3, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
        weight[2] = 0
        whole, scale = (np.asarray(part) for part in ask(quantise, weight))
        require(whole.dtype == np.int8 and whole.shape == shape, f"int8 of the shape {shape} is due, got {whole.dtype}")
        require(scale.shape == shape[:1], f"a scale for each of {shape[0]} output channels is due, got {scale.shape}")
        require(np.isfinite(scale).all() and (scale > 0).all(), "a channel of zeros needs a scale, too: any above 0")
        require(not whole[2].any(), "a channel of zeros stays one: its whole numbers are 0")
        require(whole.min() >= -127, "symmetric: from -127 to 127, so that the negative of a weight has a number, too")
        rows, flat = scale.reshape(-1, *[1] * (len(shape) - 1)), np.delete(np.arange(shape[0]), 2)
        off = np.abs(weight - rows * whole) / rows
        most = np.abs(weight).reshape(shape[0], -1).max(1)[flat]
        per_tensor = "one channel's scale must not depend on another's: its largest weight becomes 127 or -127"
        require(len(set(scale[flat].round(12))) > 1, per_tensor)
        reach = np.abs(whole.reshape(shape[0], -1)).max(1)[flat]
        require(off.max() < 0.999 or close(scale[flat], most / 127), "a weight beyond the largest number was cut off")
        require(off.max() <= 0.5 + 1e-6, "no weight is off by more than half a step: round to the nearest, do not cut")
        require((reach == 127).all(), "the scale is too large: the largest weight of a channel becomes 127 or -127")
        expect(scale[flat], most / 127, "the scale of a channel is its largest absolute weight / 127")


@exercise("16.3", "letterbox and back")
def check_letterbox(place: Callable[[np.ndarray, tuple[int, int], int, bool], np.ndarray]) -> None:
    """`place(boxes, size, side, back)`: boxes (n, 4) of a picture (height, width) in its square, or the way back."""
    draw = np.random.default_rng(0)
    for size, side, about in (
        ((480, 640), 320, "a wide picture"),
        ((640, 480), 320, "a high picture"),
        ((64, 64), 96, "a square one"),
        ((333, 500), 96, "sizes that do not divide: the scaled sides are rounded"),
        ((17, 1000), 64, "a very wide one"),
    ):
        height, width = size
        corners = draw.uniform(0, 0.6, (6, 2))
        boxes = np.hstack([corners, corners + draw.uniform(0.1, 0.4, (6, 2))]) * [width, height, width, height]
        there = np.asarray(ask(place, boxes, size, side, False), dtype=float)
        require(there.shape == (6, 4), f"{about}: 6 boxes have 6 places, got the shape {there.shape}")
        want = letterbox(torch.tensor(boxes), size, side).numpy()
        corner = np.asarray(place(np.zeros((1, 4)), size, side, False), dtype=float)[0]
        right = letterbox(torch.zeros(1, 4), size, side)[0].numpy()
        swapped = close(corner, right[[1, 0, 3, 2]]) and not close(corner, right)
        require(not swapped, f"{about}: the size is (height, width), and boxes begin with x")
        require(close(corner, right), f"{about}: the picture lies in the middle, its corner at {right[:2].tolist()}")
        scaled = f"{about}: x by the scaled width / width, y by the scaled height / height, both of whole pixels"
        expect(there, want, scaled, tolerance=1e-6)
        back = np.asarray(ask(place, there, size, side, True), dtype=float)
        require(close(back, boxes, 1e-5), f"{about}: there and back again must be where it began")
        out = np.array([[-5.0, -5.0, side + 5.0, side + 5.0]])
        whole = unletterbox(torch.tensor(out), size, side).numpy()
        expect(place(out, size, side, True), whole, f"{about}: what reaches beyond the picture is cut at its edges")


def _traces() -> list[tuple[np.ndarray, int, float, str]]:
    """Traces in ms, from which run on each is steady (its length: never), its level then, and what it shows."""
    draw, n = np.random.default_rng(0), 600
    t = np.arange(n)
    shapes = (
        (np.ones(n), 0, "a device that was warm before"),
        (1 + 2 * np.exp(-t / 8), 40, "the first runs are slow: memory and caches"),
        (1.3 - 0.3 * np.exp(-t / 70), 240, "a device that grows warm, and slower"),
        (1 + 0.4 * (t >= 200), 200, "a clock that is lowered at once"),
        (1 + 0.4 * (t >= 420), 420, "a clock that is lowered late"),
        (1 + t / n, n, "a device that is still growing slower at the end"),
    )
    found = []
    for shape, start, about in shapes:
        for level in (0.4, 12.0):
            late = 1 + 0.6 * (draw.random(n) < 0.1)  # another program
            found.append((level * shape * draw.normal(1, 0.01, n) * late, start, level * shape[-1], about))
    return found


@exercise("16.4", "when is it warm?")
def check_steady(steady: Callable[[np.ndarray], int]) -> None:
    """`steady(ms)`: how many of the first runs to leave out, so that all others are alike; all where none are."""
    for ms, start, level, about in _traces():
        got = ask(steady, ms)
        require(close(got, int(got)) and 0 <= got <= len(ms), f"a number of runs from 0 to {len(ms)}, not {got}")
        never = "no part of it is steady, so all runs are left out"
        if start == len(ms):
            require(got == start, f"{about}: {never} (got {got} of {len(ms)})")
            continue
        require(got < len(ms), f"{about}: it is steady from run {start} on, with a slow run now and then")
        median, first = np.median(ms[int(got) :]), np.median(ms[int(got) : int(got) + 30])
        told = f"{about}: leaving out {got} runs, "
        require(abs(median / level - 1) < 0.01, f"{told}the median is {median:.3g} ms, but it settles at {level:.3g}")
        require(abs(first / level - 1) < 0.04, f"{told}the next ones still differ from {level:.3g} ms, its level")
        require(got <= start + 90, f"{told}you throw away steady runs: it is steady from run {start} on")


FAULTS = ("overlap", "uneven", "noise", "rate", "writers")


def sound(processes: int = 4, images: int = 1024, batch: int = 16, reduce: str = "mean") -> dict:
    """A training on several processes without a fault, for an exercise to plant some in.

    processes: how many.
    images: of the data set.
    batch: images of one process's step.
    reduce: of the processes' gradients.
    """
    order = np.random.default_rng(0).permutation(images)
    order = np.concatenate([order, order[: -images % processes]])  # filled up, so that all have as many
    scale = batch * processes / 32 / (processes if reduce == "sum" else 1)
    return {
        "images": images,
        "reads": [order[rank::processes].tolist() for rank in range(processes)],
        "batch": batch,
        "augmentation_seeds": list(range(processes)),
        "reduce": reduce,
        "tuned": {"batch": 32, "learning_rate": 0.05},
        "learning_rate": 0.05 * scale,
        "writers": [0],
    }


def _planted(kind: str, made: dict) -> None:
    """Plant a fault into a training."""
    if kind == "overlap":
        made["reads"] = [made["reads"][0]] * len(made["reads"])
    elif kind == "uneven":
        made["reads"][-1] = made["reads"][-1][: -made["batch"]]
    elif kind == "noise":
        made["augmentation_seeds"] = [7] * len(made["reads"])
    elif kind == "rate":
        made["learning_rate"] *= len(made["reads"]) if made["reduce"] == "sum" else 1 / len(made["reads"])
    else:
        made["writers"] = list(range(len(made["reads"])))


@exercise("16.5", "faults in a distributed training")
def check_training(faults: Callable[[dict], Sequence[str]]) -> None:
    """`faults(training)`: which of `FAULTS` a training on several processes has; see the notebook for its keys."""
    settings: tuple[dict, ...] = ({}, {"processes": 2, "batch": 32}, {"images": 1026}, {"reduce": "sum"})
    settings += ({"processes": 3, "images": 1000},)
    cases = [(one, ()) for one in settings] + [(one, (kind,)) for one in settings for kind in FAULTS]
    cases += [({}, ("noise", "rate")), ({}, ("overlap", "writers")), ({"reduce": "sum"}, FAULTS[1:])]
    for options, planted in cases:
        training = sound(**options)
        for kind in planted:
            _planted(kind, training)
        got = {str(one) for one in ask(faults, training)}
        unknown = sorted(got - set(FAULTS))
        require(not unknown, f"a fault is called {', '.join(FAULTS)}; got {', '.join(unknown)}")
        about = (
            f"{len(training['reads'])} processes, {training['images']} images, the {training['reduce']} of gradients"
        )
        missed, accused = sorted(set(planted) - got), sorted(got - set(planted))
        require(not missed, f"{about}: {', '.join(missed)} was not found")
        require(not accused, f"{about}: {', '.join(accused)} is no fault of it ({_why_not(accused)})")


def _why_not(accused: Sequence[str]) -> str:
    """Why what was accused first is sound."""
    why = {
        "overlap": "to have as many each, fewer images than there are processes may be read twice",
        "uneven": "all take as many steps",
        "noise": "their seeds differ",
        "rate": "the rate grows with the images of a step of all; a sum of gradients has grown already",
        "writers": "one process writes",
    }
    return why[accused[0]] if accused else ""
