"""Checkers for notebook 08: SNIP, SynFlow's flow, the agreement kernel, a proxy told by its behaviour, and ranks.

Networks and images are drawn with fixed seeds from a generator of their own, so that a verdict does not change by luck
and the learner's global random state stays as it is.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasedu import proxies
from nasedu.course.checks import ask, content, exercise, expect, number, require
from nasedu.randomness import seeded

MYSTERIES = ("params", "synflow", "naswot", "jacob_cov", "snip")


def _convolutions(norm: bool, seed: int = 0, layers: int = 1, width: int = 6) -> nn.Sequential:
    """A small network of ReLUs, (3, 6, 6) to 4 outputs; without `norm` it has no biases either."""
    parts: list[nn.Module] = []
    with seeded(seed):
        for i in range(layers):
            parts += [nn.Conv2d(width if i else 3, width, 3, padding=1, bias=norm)]
            parts += [nn.BatchNorm2d(width)] * norm + [nn.ReLU()]
        return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 4, bias=norm))


def _images(count: int = 8, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, 6, 6, generator=generator), torch.arange(count) % 4


@exercise("08.1", "SNIP")
def check_snip(snip: Callable[[nn.Module, Tensor, Tensor], float]) -> None:
    """`snip(model, images, labels)`: Sum of |w * dL/dw| over the weights of convolutions and linear layers."""
    model, (images, labels) = _convolutions(norm=True), _images()
    kept = "the network's weights must stay as they were: nothing is trained here"
    got = number(ask(snip, model, images, labels, keep=kept))
    weights = list(model.parameters())
    products = torch.autograd.grad(F.cross_entropy(model(images), labels), weights)
    every = [(w.detach() * g, g) for w, g in zip(weights, products, strict=True)]
    some = [(wg, g) for wg, g in every if wg.ndim > 1]
    right = float(sum(wg.abs().sum() for wg, _ in some))
    single = "take the absolute value of every single w · g before you add anything up, not of a sum"
    only = "weights of convolutions and linear layers only: leave out biases and batch normalisation"
    hints = (
        (sum(wg.sum() for wg, _ in some), single),
        (sum(wg.sum().abs() for wg, _ in some), single),
        (sum(g.abs().sum() for _, g in some), "a saliency is the weight times its gradient, not the gradient alone"),
        (sum(wg.square().sum() for wg, _ in some), "add absolute values, not squares"),
        (sum(wg.abs().sum() for wg, _ in every), only),
        (right * len(images), "the loss is the mean over the images, so that the batch's size does not matter"),
    )
    expect(got, right, f"the sum of |w · g| is {right:.4f} for the checker's network", hints)
    expect(snip(model, images, labels), got, "a second call must give the same: do not let gradients pile up in .grad")


@exercise("08.2", "the flow, and the signs put back")
def check_flow(flow: Callable[[nn.Module, tuple[int, ...]], float]) -> None:
    """`flow(model, shape)`: the summed outputs for an image of ones with |weights|, in float64; the model as before."""
    model, ones = _convolutions(norm=False, layers=2), torch.ones(1, 3, 6, 6, dtype=torch.float64)
    before = content(model)
    got = flow(model, (3, 6, 6))
    signs = any((weight < 0).any() for weight in model.parameters())
    require(signs, "the signs are gone: afterwards every weight must be what it was")
    require(content(model) == before, "afterwards every weight must be what it was, bit by bit and in its precision")
    right, plain = _flow(model), float(model.double()(ones).detach().sum())
    hints = [(plain, "make every weight positive first: flows of different signs would cancel out")]
    expect(got, right, f"R is {right:.4f} for the checker's network: an image of ones, all summed", hints)
    deep = _convolutions(norm=False, layers=40, width=12)
    with torch.no_grad():
        for weight in deep.parameters():
            weight.mul_(100)
    huge = number(flow(deep, (3, 6, 6)))
    require(math.isfinite(huge), "R grows with every layer and overflows float32: compute in float64")
    expect(huge, _flow(deep), "R of a deep network is not right: compute in float64 from the start")


def _flow(model: nn.Module) -> float:
    linear = copy.deepcopy(model).double().requires_grad_(False)
    for weight in linear.parameters():
        weight.abs_()
    return float(linear(torch.ones(1, 3, 6, 6, dtype=torch.float64)).sum())


@exercise("08.3", "the agreement kernel")
def check_agreement(agreement: Callable[[Tensor], Tensor]) -> None:
    """`agreement(x)`: x (B, ...) inputs of a ReLU; K (B, B), on how many units images i and j agree in sign."""
    x = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0))
    x[0, 0, :2], x[1, 0, 0] = 0.0, -1.0  # a zero counts as off
    got = torch.as_tensor(ask(agreement, x, keep="the input that was handed in must stay as it was"))
    require(got.shape == (5, 5), f"one row and one column per image, (5, 5), got {tuple(got.shape)}")
    codes, on = ((code.flatten(1)).double() for code in (x > 0, x >= 0))
    right, zeros_on = (12 - torch.cdist(code, code, p=1) for code in (codes, on))
    hints = (
        (codes @ codes.T, "two units that are off agree, too: add (1 − C)(1 − C)ᵀ to C Cᵀ"),
        (12 - right, "K counts where two images agree; this counts where they differ (Hamming)"),
        (2 * right - 12, "codes of ±1 give agreements less disagreements: use codes of 0 and 1"),
        (right / 12, "K is a count, not a share: every image agrees with itself on all 12 units"),
        (zeros_on, "an input of exactly 0 is off: the code is 1 where x > 0"),
    )
    units = "K[i, j] must be the number of units on which images i and j have the same sign, with itself all 12 units"
    expect(got, right, units, hints)


@exercise("08.4", "which proxy is it?")
def check_identify(identify: Callable[[Callable, nn.Module, Tensor, Tensor], str]) -> None:
    """`identify(score, model, images, labels)`: the name of the hidden proxy, found out by how it behaves."""
    for seed, factor in ((0, 2.0), (1, 0.3)):
        model, (images, labels) = _convolutions(norm=True, seed=seed), _images(seed=seed + 5)
        for name in MYSTERIES:
            kept = "the network, images and labels must stay as they were: work on a copy"
            said = ask(identify, _hidden(name, factor), model, images, labels, keep=kept)
            require(said in MYSTERIES, f"the answer is one of {', '.join(MYSTERIES)}, got {said!r}")
            require(said == name, f"{name} was taken for {said}: {_tell(name, said)}")


def _tell(*names: str) -> str:
    """What tells two proxies apart."""
    if "snip" in names:
        return "of the five, snip alone reads the labels"
    if len({"naswot", "jacob_cov"}.intersection(names)) == 1:
        return "naswot and jacob_cov read the images, params and synflow do not"
    if "naswot" in names:
        return "with two equal images naswot is -inf, jacob_cov is not"
    return "the number of parameters does not change with the weights, SynFlow does"


def _hidden(name: str, factor: float) -> Callable[[nn.Module, Tensor, Tensor], float]:
    """A proxy whose values are stretched and moved, so that its behaviour alone tells what it is."""
    return lambda model, images, labels: factor * proxies.score(name, model, (images, labels)) + 7.0


@exercise("08.5", "ranks, with ties and failures")
def check_ranks(ranks: Callable[[Sequence[float]], Sequence[float]]) -> None:
    """`ranks(scores)`: 1 for the worst, n for the best, ties their mean, failures (-inf, nan) one tie below all."""
    scores = [0.3, 0.9, 0.5, -2.0]
    got, order = np.asarray(ranks(list(scores)), dtype=float), np.argsort(scores)
    require(got.shape == (4,), f"one rank for each of the 4 scores, got the shape {got.shape}")
    turned = "argsort says which score comes first, not which rank each score has: it has to be turned round"
    hints = (
        ([3, 1, 2, 4], "the best has rank n, the worst rank 1"),
        ([1, 3, 2, 0], "ranks count from 1, not from 0"),
        *((wrong, turned) for wrong in (order, order + 1)),
    )
    expect(got, [2, 4, 3, 1], f"{scores} have the ranks 2, 4, 3, 1, got {got.tolist()}", hints)
    tied = np.asarray(ranks([1.0, 5.0, 5.0, 2.0, 5.0]))
    expect(tied, [1, 4, 4, 2, 4], f"equal scores get the mean of their ranks: 1, 4, 4, 2, 4, got {tied}")
    failed = np.asarray(ranks([0.1, math.nan, -math.inf, -5.0]), dtype=float)
    require(failed.shape == (4,) and np.isfinite(failed).all(), "failures have ranks, too: leave none out")
    require(failed[1] < failed[3] and failed[1] < failed[0], "nan is a failure and must rank below every number")
    require(failed[1] == failed[2], "all failures are one tie, be they nan or -inf")
    expect(failed, [4, 1.5, 1.5, 3], f"expected the ranks 4, 1.5, 1.5, 3, got {failed.tolist()}")
