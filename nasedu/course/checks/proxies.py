"""Checkers for notebook 08: SNIP, SynFlow's flow, a size-free NASWOT, and scores and faults told by their behaviour.

Networks and images are drawn with fixed seeds from a generator of their own, so that a verdict does not change by luck
and the learner's global random state stays as it is.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial

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


@exercise("08.3", "a NASWOT that copies do not raise")
def check_copies(per_unit: Callable[[Tensor], float]) -> None:
    """`per_unit(codes)`: codes (B, units) of 0 and 1; a score of the codes, not of how many units there are."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(2, (8, 60), generator=generator).double()
    flips = (torch.rand(8, 60, generator=generator) < 0.1).double()
    got = number(ask(per_unit, codes, keep="the codes that were handed in must stay as they were"))
    for times in (2, 5):
        same = f"with every unit {times} times over the score must be the same: the codes tell no more apart"
        expect(per_unit(codes.repeat(1, times)), got, same)
    order = "the order of the {} means nothing and must not change the score"
    # nothing stays where it was, and whoever stood side by side does so no more
    expect(per_unit(codes[(3 * torch.arange(8) + 1) % 8]), got, order.format("images"))
    expect(per_unit(codes[:, (7 * torch.arange(60) + 1) % 60]), got, order.format("units"))
    turned = codes.clone()
    turned[:, ::3] = 1 - turned[:, ::3]
    swapped = "on and off are two names for the sides of a unit: swapping them in some units must change nothing"
    expect(per_unit(turned), got, swapped)
    alike = number(per_unit((codes[:1] - flips).abs()))
    require(alike < got, f"codes that differ in a few units only must score lower ({alike:.4g} against {got:.4g})")
    twins = codes.clone()
    twins[1] = twins[0]
    said, below = number(per_unit(twins)), "two images with the same code must rank below everything, at -inf or nearly"
    require(not math.isnan(said), "two images with the same code must not give nan, which has no rank")
    require(said < got - 3 * (got - alike), f"{below} (got {said:.4g})")


def _ask(answer: Callable, score: Callable, model: nn.Module, *batch: Tensor, keep: str) -> str:
    """As `ask`, where the network's statistics and its mode must stay as well."""
    before = content(model.state_dict(), [part.training for part in model.modules()])
    got = ask(partial(answer, score), model, *batch, keep=keep)
    after = content(model.state_dict(), [part.training for part in model.modules()])
    require(after == before, f"{keep} (statistics and the mode belong to a network, too)")
    return got


@exercise("08.4", "which proxy is it?")
def check_identify(identify: Callable[[Callable, nn.Module, Tensor, Tensor], str]) -> None:
    """`identify(score, model, images, labels)`: the name of the hidden proxy, found out by how it behaves."""
    for seed, factor in ((0, 2.0), (1, 0.3)):
        model, (images, labels) = _convolutions(norm=True, seed=seed), _images(seed=seed + 5)
        for name in MYSTERIES:
            kept = "the network, images and labels must stay as they were: work on a copy"
            said = _ask(identify, _hidden(name, factor), model, images, labels, keep=kept)
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


@exercise("08.5", "a test for four faults")
def check_faults(find_fault: Callable[[Callable, nn.Module, Tensor, Tensor], str]) -> None:
    """`find_fault(score, model, images, labels)`: "none", or the fault that a hidden score has, one of `FAULTS`."""
    model, (images, labels) = _convolutions(norm=True, layers=2), _images()
    for name, sign in (("naswot", 1), ("snip", -1), ("synflow", 1), ("grad_norm", -1)):
        for fault, broken in {"none": lambda score, _: score, **FAULTS}.items():
            kept = "the network, images and labels must stay as they were: hand a copy to a score that you do not trust"
            said = _ask(find_fault, broken(partial(_score, name), sign), model, images, labels, keep=kept)
            require(said in {"none", *FAULTS}, f"the answer is one of none, {', '.join(FAULTS)}, got {said!r}")
            require(said == fault, f"{name} with the fault {fault!r} was told to have {said!r}: {TELLS[fault]}")


def _score(name: str, model: nn.Module, images: Tensor, labels: Tensor) -> float:
    return proxies.score(name, model, (images, labels))


def _touching(score: Callable, sign: int) -> Callable:
    """Only the first layer's weights, or only the last one's."""

    def broken(model: nn.Module, images: Tensor, labels: Tensor) -> float:
        value = score(model, images, labels)
        with torch.no_grad():
            [weight for weight in model.parameters() if weight.ndim > 1][(sign - 1) // 2].abs_()
        return value

    return broken


def _growing(score: Callable, sign: int) -> Callable:
    """As where hooks stay: every later call counts more, or less."""
    calls = itertools.count()
    return lambda *given: score(*given) + sign * len(given[1]) * math.log(1 + next(calls))


def _by_order(score: Callable, sign: int) -> Callable:
    """The image that stands first counts more than the others, or less."""
    return lambda model, images, labels: (
        score(model, images, labels) * (1 + sign * 0.3 * float(images[0].abs().sum() / images.abs().sum()))
    )


def _winning(score: Callable, _: int) -> Callable:
    """Turned round, so that the least of all wins."""
    return lambda *given: -score(*given)


FAULTS = {"weights": _touching, "repeat": _growing, "order": _by_order, "dead": _winning}
TELLS = {
    "none": "labels must move with their images, and sums are rounded, so compare with a tolerance",
    "weights": "compare the copy's weights before and after one call",
    "repeat": "call it twice with equal copies first: what changes by itself seems to depend on anything",
    "order": "turn the batch round, images and labels alike",
    "dead": "a network whose weights are all zero tells nothing apart, and must not score higher than one that lives",
}


@exercise("08.6", "an order that width turns round")
def check_turned(pair: Callable[[], Sequence[tuple[int, int]]]) -> None:
    """`pair()`: (layers, width) of two chains; the first has more flow, and less once both are twice as wide."""
    found = [tuple(each) for each in pair()]
    require([len(each) for each in found] == [2, 2], f"two pairs (layers, width) are asked for, got {found}")
    within = all(1 <= layers <= 12 and 1 <= width <= 64 for layers, width in found)
    require(within, f"1 to 12 layers and widths from 1 to 64 are allowed, got {found}")
    differ = "every layer of twice the width multiplies R by about the same: chains of equal depth keep their order"
    require(found[0][0] != found[1][0], differ)
    for seed in range(5):
        first, second = (_log_flow(*each, seed) for each in found)
        before = f"as they are, the first must have the larger score (ln {first:.2f} against {second:.2f}, draw {seed})"
        require(first > second, before)
        first, second = (_log_flow(layers, 2 * width, seed) for layers, width in found)
        after = (
            f"twice as wide, the second must have the larger score (ln {second:.2f} against {first:.2f}, draw {seed})"
        )
        require(second > first, after)


def _log_flow(layers: int, width: int, seed: int) -> float:
    model = _convolutions(norm=False, seed=seed, layers=layers, width=width)
    return math.log(proxies.score("synflow", model, _images(1)))
