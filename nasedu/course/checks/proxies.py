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
from nasedu.course.checks import exercise, require
from nasedu.randomness import seeded

MYSTERIES = ("params", "synflow", "naswot", "jacob_cov", "snip")
NEAR = 1e-4  # relative; float32 sums in another order differ by less


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


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.named_parameters()}


def _require_untouched(model: nn.Module, before: dict[str, Tensor], sentence: str) -> None:
    """Same values, bit by bit, in the same precision."""
    after = dict(model.named_parameters())
    same = after.keys() == before.keys() and all(
        after[name].dtype == old.dtype and torch.equal(after[name], old) for name, old in before.items()
    )
    require(same, sentence)


def _number(value: object) -> float:  # type: ignore[return]  # `require` raises
    try:
        return float(value)
    except (TypeError, ValueError):
        require(False, f"a score is one number, got {type(value).__name__}")


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=NEAR, abs_tol=1e-9)


SINGLE = "take the absolute value of every single w · g before you add anything up, not of a sum"


@exercise("08.1", "SNIP")
def check_snip(snip: Callable[[nn.Module, Tensor, Tensor], float]) -> None:
    """`snip(model, images, labels)`: Sum of |w * dL/dw| over the weights of convolutions and linear layers."""
    model, (images, labels) = _convolutions(norm=True), _images()
    before = _state(model)
    got = _number(snip(model, images, labels))
    _require_untouched(model, before, "the network's weights must stay as they were: nothing is trained here")
    loss = F.cross_entropy(model(images), labels)
    parameters = list(model.parameters())
    pairs = [(w.detach(), g) for w, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True)]
    weights = [(w, g) for w, g in pairs if w.ndim > 1]
    right = float(sum((w * g).abs().sum() for w, g in weights))
    for wrong, sentence in (
        (sum((w * g).sum() for w, g in weights), SINGLE),
        (sum((w * g).sum().abs() for w, g in weights), SINGLE),
        (sum(g.abs().sum() for _, g in weights), "a saliency is the weight times its gradient, not the gradient alone"),
        (sum((w * g).square().sum() for w, g in weights), "add absolute values, not squares"),
        (
            sum((w * g).abs().sum() for w, g in pairs),
            "weights of convolutions and linear layers only: leave out biases and batch normalisation",
        ),
        (right * len(images), "the loss is the mean over the images, so that the batch's size does not matter"),
    ):
        require(_close(got, right) or not _close(got, float(wrong)), sentence)
    require(_close(got, right), f"the sum of |w · g| is {right:.4f} for the checker's network, got {got:.4f}")
    again = _number(snip(model, images, labels))
    require(_close(again, got), "a second call must give the same: do not let gradients pile up in .grad")


@exercise("08.2", "SynFlow's flow, signs put back")
def check_flow(flow: Callable[[nn.Module, tuple[int, ...]], float]) -> None:
    """`flow(model, shape)`: the summed outputs for an image of ones with |weights|, in float64; the model as before."""
    model = _convolutions(norm=False, layers=2)
    before = _state(model)
    require(any((w < 0).any() for w in before.values()), "the checker's network has negative weights")
    got = _number(flow(model, (3, 6, 6)))
    after = dict(model.named_parameters())
    require(
        not any(torch.equal(after[n].double(), w.double().abs()) for n, w in before.items()),
        "the signs are gone: afterwards every weight must be what it was",
    )
    _require_untouched(model, before, "afterwards every weight must be what it was, bit by bit and in its precision")
    right = _flow(model)
    plain = float(model.double()(torch.ones(1, 3, 6, 6, dtype=torch.float64)).detach().sum())
    require(not _close(got, plain), "make every weight positive first: flows of different signs would cancel out")
    require(
        _close(got, right), f"R is {right:.4f} for the checker's network, got {got:.4f}: an image of ones, all summed"
    )
    deep = _convolutions(norm=False, layers=40, width=12)
    with torch.no_grad():
        for weight in deep.parameters():
            weight.mul_(100)
    huge = _number(flow(deep, (3, 6, 6)))
    require(math.isfinite(huge), "R grows with every layer and overflows float32: compute in float64")
    require(_close(huge, _flow(deep)), "R of a deep network is not right: compute in float64 from the start")


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
    given = x.clone()
    got = torch.as_tensor(agreement(x)).double()
    require(torch.equal(x, given), "the input that was handed in must stay as it was")
    require(got.shape == (5, 5), f"one row and one column per image, (5, 5), got {tuple(got.shape)}")
    codes = given.flatten(1) > 0
    both_on = (codes.double() @ codes.double().T).double()
    right = (codes[:, None] == codes[None]).sum(-1).double()
    units = codes.shape[1]
    require(not torch.equal(got, both_on), "two units that are off agree, too: add (1 − C)(1 − C)ᵀ to C Cᵀ")
    require(
        not torch.equal(got, units - right), "K counts where two images agree; this counts where they differ (Hamming)"
    )
    require(
        not torch.equal(got, 2 * right - units),
        "K counts agreements; codes of ±1 give agreements less disagreements: use codes of 0 and 1",
    )
    require(
        torch.equal(got.diagonal(), torch.full((5,), float(units), dtype=got.dtype)),
        f"every image agrees with itself on all {units} units: that is the diagonal",
    )
    require(not torch.equal(got, right / units), "K is a count, not a share")
    on = given.flatten(1) >= 0
    require(
        not torch.equal(got, (on[:, None] == on[None]).sum(-1).double()) or torch.equal(got, right),
        "an input of exactly 0 is off: the code is 1 where x > 0",
    )
    require(torch.equal(got, right), "K[i, j] must be the number of units on which images i and j have the same sign")


@exercise("08.4", "which proxy is it?")
def check_identify(identify: Callable[[Callable, nn.Module, Tensor, Tensor], str]) -> None:
    """`identify(score, model, images, labels)`: the name of the hidden proxy, found out by how it behaves."""
    for seed, factor in ((0, 2.0), (1, 0.3)):
        model, (images, labels) = _convolutions(norm=True, seed=seed), _images(seed=seed + 5)
        before, given = _state(model), (images.clone(), labels.clone())
        for name in MYSTERIES:
            said = identify(_hidden(name, factor), model, images, labels)
            _require_untouched(model, before, "the network that was handed in must stay as it was: work on a copy")
            require(
                torch.equal(images, given[0]) and torch.equal(labels, given[1]),
                "images and labels must stay as they were: work on a copy",
            )
            require(said in MYSTERIES, f"the answer is one of {', '.join(MYSTERIES)}, got {said!r}")
            require(said == name, f"{name} was taken for {said}: {TELLS.get(frozenset((name, said)))}")


TELLS = {
    frozenset(pair): sentence
    for pairs, sentence in (
        ([("snip", other) for other in MYSTERIES[:4]], "of the five, snip alone reads the labels"),
        (
            [(a, b) for a in ("naswot", "jacob_cov") for b in ("params", "synflow")],
            "naswot and jacob_cov read the images, params and synflow do not",
        ),
        ([("naswot", "jacob_cov")], "with two equal images naswot is -inf, jacob_cov is not"),
        ([("params", "synflow")], "the number of parameters does not change with the weights, SynFlow does"),
    )
    for pair in pairs
}


def _hidden(name: str, factor: float) -> Callable[[nn.Module, Tensor, Tensor], float]:
    """A proxy whose values are stretched and moved, so that its behaviour alone tells what it is."""
    return lambda model, images, labels: factor * proxies.score(name, model, (images, labels)) + 7.0


@exercise("08.5", "ranks with ties and failures")
def check_ranks(ranks: Callable[[Sequence[float]], Sequence[float]]) -> None:
    """`ranks(scores)`: 1 for the worst, n for the best, ties their mean, failures (-inf, nan) one tie below all."""
    scores = [0.3, 0.9, 0.5, -2.0]
    got = np.asarray(ranks(list(scores)), dtype=float)
    require(got.shape == (4,), f"one rank for each of the 4 scores, got the shape {got.shape}")
    require(not np.array_equal(got, [3, 1, 2, 4]), "the best has rank n, the worst rank 1")
    require(not np.array_equal(got, [1, 3, 2, 0]), "ranks count from 1, not from 0")
    order = np.argsort(scores)
    require(
        not (np.array_equal(got, order) or np.array_equal(got, order + 1)),
        "argsort says which score comes first, not which rank each score has: it has to be turned round",
    )
    require(np.array_equal(got, [2, 4, 3, 1]), f"{scores} have the ranks 2, 4, 3, 1, got {got.tolist()}")
    tied = np.asarray(ranks([1.0, 5.0, 5.0, 2.0, 5.0]), dtype=float)
    require(np.allclose(tied, [1, 4, 4, 2, 4]), f"equal scores get the mean of their ranks: 1, 4, 4, 2, 4, got {tied}")
    failed = np.asarray(ranks([0.1, math.nan, -math.inf, -5.0]), dtype=float)
    require(failed.shape == (4,) and np.isfinite(failed).all(), "failures have ranks, too: leave none out")
    require(failed[1] < failed[3] and failed[1] < failed[0], "nan is a failure and must rank below every number")
    require(failed[1] == failed[2], "all failures are one tie, be they nan or -inf")
    require(np.allclose(failed, [4, 1.5, 1.5, 3]), f"expected the ranks 4, 1.5, 1.5, 3, got {failed.tolist()}")
