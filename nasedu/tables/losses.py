"""Losses that weigh a network's cost against its task: one signature for every published form, and two that hold a
budget.

`loss(task, cost, target)` is the total to minimise: `task` a loss (lower is better, never negative where a form
multiplies it), `cost` and `target` in one unit, r = cost / target. All three broadcast, so targets may differ by row.
`losses.create("lagrange", rho=0.2)` makes one by name, `losses.names()` lists them.

Unless a docstring says otherwise a form depends on r alone, so it is the same for milliseconds and seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from typing import ClassVar

import torch
from torch import Tensor

from nasedu.errors import ParameterError, check_kind
from nasedu.registry import Registry

LEAST = 1e-3  # logs and powers of r are flat below a thousandth of the target: their slope at 0 is infinite
NEAR, STRIDE = 0.05, 0.1  # shares of the target: see `Lagrange`
EDGE = 0.1  # below log(cost) = 0.1 a literal log bends, and comes to next to nothing at cost 0
LOSSES = Registry("hardware loss")
RULES: dict[str, Callable[[float], bool]] = {
    "finite": lambda value: True,
    "positive": lambda value: value > 0,
    "0 or more": lambda value: value >= 0,
    "1 or more": lambda value: value >= 1,
    "0 or less": lambda value: value <= 0,
    "negative": lambda value: value < 0,
}


def option(default: float, rule: str):
    """An option of a loss: a finite number that keeps to one of `RULES`."""
    return field(default=default, metadata={"rule": rule})


def zero() -> Tensor:
    """Where what `update` changes starts, in a field that is no option (`init=False`)."""
    return torch.tensor(0.0)


@dataclass
class HardwareLoss:
    """A loss of (task, cost, target): a dataclass whose fields are options, or what `update` changes."""

    name: ClassVar[str]
    least_cost: ClassVar[float] = 0.0  # below it, a cost is a mistake

    def __init_subclass__(cls, name: str = ""):
        if name:
            cls.name = name
            LOSSES[name] = cls

    def __post_init__(self):
        for f in fields(self):
            rule, value = f.metadata.get("rule"), getattr(self, f.name)
            number = isinstance(value, Real) and not isinstance(value, bool)
            if rule and not (number and math.isfinite(value) and RULES[rule](value)):
                raise ParameterError(f"{f.name} of the {self.name} loss must be a number, {rule}, got {value!r:.40}")

    def __call__(self, task: Tensor | float, cost: Tensor | float, target: Tensor | float) -> Tensor:
        """The total to minimise, elementwise and broadcast.

        Raises `ParameterError` for a target that is not above 0, or a cost that is below 0 or not finite.
        """
        self.check(target)
        return self.total(task, self._checked(cost), target)

    def total(self, task, cost: Tensor, target) -> Tensor:
        """What calling it returns, for arguments that are known to be right: by default task + `term`.

        task: the loss so far.
        cost: of the network.
        target: in the cost's unit.
        """
        return task + self.term(cost, target)

    def term(self, cost: Tensor, target) -> Tensor:
        """What a form that adds to the task loss adds."""
        raise NotImplementedError

    def slope(self, cost: Tensor, target) -> Tensor | float:
        """d term / d cost in closed form, which a search takes where all of its losses have one."""
        raise NotImplementedError

    def _checked(self, cost: Tensor | float) -> Tensor:
        """`cost` as a tensor."""
        cost = torch.as_tensor(cost)
        good = cost.isfinite() & (cost >= self.least_cost)
        if not bool(good.all()):
            bad = float(cost[~good].flatten()[0])
            raise ParameterError(f"a cost of the {self.name} loss is finite and never negative, got {bad:g}")
        return cost

    def check(self, target: Tensor | float) -> None:
        """Raise `ParameterError` for a target that this form cannot take."""
        check_target(target)

    @property
    def in_closed_form(self) -> bool:
        """Whether it adds its term to the task loss and has a `slope`."""
        kind = type(self)
        return kind.slope is not HardwareLoss.slope and kind.total is HardwareLoss.total

    def update(self, cost: Tensor | float, target: Tensor | float) -> None:
        """Learn from the cost reached so far: a no-op, but for `lagrange` and `log_barrier`."""

    def state_dict(self) -> dict[str, Tensor]:
        """What `update` has changed: tensors by name, for a checkpoint."""
        return {f.name: getattr(self, f.name) for f in fields(self) if not f.init}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from `state_dict()`."""
        for name in self.state_dict():
            setattr(self, name, state[name].clone())

    def fresh(self) -> HardwareLoss:
        """The same loss before any update; a search works on such a copy."""
        return replace(self)

    @property
    def options(self) -> dict:
        """The options by name, without the state."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}

    @property
    def identity(self) -> list:
        """What a stored search compares: the loss, with its code where it is one's own, and its options."""
        return [type(self), self.options]


def check_target(target: Tensor | float) -> None:
    """Raise `ParameterError` unless it is a number or a tensor, positive and finite throughout."""
    if isinstance(target, bool) or not isinstance(target, Tensor | Real):
        raise ParameterError(f"a target must be a number or a tensor, got {target!r:.40}")
    values = torch.as_tensor(target, dtype=torch.float64)
    if not bool(((values > 0) & values.isfinite()).all()):
        bad = values[~((values > 0) & values.isfinite())].flatten()[0]
        raise ParameterError(f"a target must be positive and finite, got {float(bad):g}")


def as_loss(loss: HardwareLoss | str) -> HardwareLoss:
    """A loss as it is, or the one of that name. Raises `UnknownName`, and `ParameterError` for anything else."""
    if isinstance(loss, str):
        return create(loss)
    return check_kind("a hardware loss", loss, HardwareLoss, "one that losses.create made, or its name")


@dataclass
class _LogPower(HardwareLoss):
    """task * alpha * (a log of the cost)^beta; see `FBNet` and `ProxylessNASMultiply`."""

    alpha: float = option(0.2, "positive")
    beta: float = option(0.6, "positive")
    literal: bool = False

    def __post_init__(self):
        super().__post_init__()
        check_kind(f"literal of the {self.name} loss", self.literal, bool, "True or False")

    def check(self, target) -> None:
        """As for any loss; a literal log wants targets above 1, too."""
        check_target(target)
        low = float(torch.as_tensor(target, dtype=torch.float64).min())
        if self.literal and low <= 1:
            raise ParameterError(
                f"the literal {self.name} loss takes the log of a cost, which is not positive up to 1 unit: "
                f"the target is {low:g}; choose a smaller unit, or literal=False"
            )

    def total(self, task, cost, target):
        """The task loss, scaled by a power of the log."""
        log = self._literal(cost, target) if self.literal else (cost / target).clamp_min(LEAST).log1p() / math.log(2)
        return task * (self.alpha * log**self.beta)

    def _literal(self, cost: Tensor, target) -> Tensor:
        return guarded_log(torch.broadcast_tensors(cost, torch.as_tensor(target))[0])


class FBNet(_LogPower, name="fbnet"):
    """task * alpha * log(cost)^beta (Wu et al., CVPR 2019, section 3.3): alpha .2, beta .6.

    The published log depends on the unit, and is negative for half a millisecond. By default log(1 + r) / log 2 stands
    in its place: 1 at the target, 0 at no cost. `literal=True` takes the natural log of the cost in its unit, refuses
    targets up to 1, and falls smoothly to next to 0 below a cost of about 1. No pull towards the target: cheaper is
    better.
    """


@dataclass
class ProxylessNASMultiply(_LogPower, name="proxylessnas_multiply"):
    """task * alpha * (log cost / log target)^beta (ProxylessNAS's public code, `mul#log`): alpha .2, beta .3.

    The ratio of two logs depends on the unit; by default log(1 + r) / log 2 stands for it. `literal` as in `FBNet`.
    """

    beta: float = option(0.3, "positive")

    def _literal(self, cost, target):
        return guarded_log(cost) / torch.as_tensor(target).log()


def guarded_log(cost: Tensor) -> Tensor:
    """log(cost), continued below log(cost) = EDGE by a power of the cost: smooth and positive.

    It is flat, at 4e-32, below a cost of LEAST: at 0 some power of it, which `beta` takes, would be infinitely steep.
    """
    above = cost.clamp_min(math.exp(EDGE)).log()
    below = EDGE / math.e * cost.clamp(LEAST, math.exp(EDGE)) ** (1 / EDGE)
    return torch.where(cost > math.exp(EDGE), above, below)


@dataclass
class ProxylessNASAdd(HardwareLoss, name="proxylessnas_add"):
    """task + weight * (cost - target) / target (ProxylessNAS's public code, `add#linear`): weight .1.

    Cheaper is always better, by the same amount: the target sets the unit and nothing else.
    """

    weight: float = option(0.1, "0 or more")

    def term(self, cost, target):
        """A line that is 0 at the target."""
        return self.weight * (cost / target - 1)

    def slope(self, cost, target):
        return self.weight / target


@dataclass
class SinglePath(HardwareLoss, name="single_path"):
    """task + weight * log(cost / target) (Single-Path NAS, Stamoulis et al. 2019, section 3): weight .020.

    The paper writes log(cost); the target only adds a constant, so the slopes are the published ones in any unit. (The
    public code multiplies by another 1000.) Flat below a thousandth of the target.
    """

    weight: float = option(0.02, "0 or more")

    def term(self, cost, target):
        """A log that is 0 at the target."""
        return self.weight * (cost / target).clamp_min(LEAST).log()


@dataclass
class Squared(HardwareLoss, name="squared"):
    """task + weight * (r - 1)^2: two-sided (the OneShot_NAS_example repository, with weight * target^2 in its units).

    Its weight .005 for a target of 100 million MACs is 50 here; the default is 1.
    """

    weight: float = option(1.0, "0 or more")

    def term(self, cost, target):
        """A parabola about the target."""
        return self.weight * (cost / target - 1).square()

    def slope(self, cost, target):
        return (cost / target - 1) * (2 * self.weight / target)


@dataclass
class Hinge(HardwareLoss, name="hinge"):
    """task + weight * max(0, r - 1): no pressure within the budget. A common one-sided form; the weight 1 is ours."""

    weight: float = option(1.0, "0 or more")

    def term(self, cost, target):
        """A line beyond the target."""
        return self.weight * (cost / target - 1).clamp_min(0)

    def slope(self, cost, target):
        return (cost >= target) * (self.weight / target)


@dataclass
class Linear(HardwareLoss, name="linear"):
    """task + weight * r: what WZDNAS does for depth and latency, with the uniform architecture's cost as target.

    The slope knows nothing of the target. A negative weight rewards a table whose values are better when higher, and
    which may hold negative ones. The default 1 is ours; WZDNAS's own are in `nasedu.wzdnas.loss`.
    """

    weight: float = option(1.0, "finite")
    least_cost = -math.inf

    def term(self, cost, target):
        """A line through 0."""
        return self.weight * (cost / target)

    def slope(self, cost, target):
        return self.weight / target


class _Reward(HardwareLoss):
    """A reward for sampled search: higher is better. As a loss it is minus the reward of the quality exp(-task).

    For a cross-entropy that quality is a probability of the right class, between 0 and 1 like the accuracy that the
    published reward takes, and it exists for every task loss.
    """

    def reward(self, quality: Tensor | float, cost: Tensor | float, target: Tensor | float) -> Tensor:
        """The reward of a quality (higher is better, not negative), broadcast. Raises `ParameterError`."""
        self.check(target)
        return self._reward(quality, self._checked(cost) / target)

    def total(self, task, cost, target):
        """Minus the reward of the quality exp(-task)."""
        return -self._reward(torch.exp(-torch.as_tensor(task)), cost / target)


@dataclass
class MnasNet(_Reward, name="mnasnet"):
    """Reward quality * r^w, w = `below` for r <= 1 and `above` beyond (Tan et al., CVPR 2019, eq. 2 and 3).

    The defaults are the paper's soft constraint, -.07 on both sides; (0, -1) is its hard one. As a loss: see `_Reward`.
    Flat below a thousandth of the target.
    """

    below: float = option(-0.07, "0 or less")
    above: float = option(-0.07, "0 or less")

    def _reward(self, quality, r):
        exponent = torch.where(r > 1, self.above, self.below)
        return quality * r.clamp_min(LEAST) ** exponent


@dataclass
class TuNAS(_Reward, name="tunas"):
    """Reward quality + beta * |r - 1|, beta < 0: two-sided (Bender et al., CVPR 2020, the absolute reward).

    beta is a setting of each search; the default -.07 is ours, for it gives MnasNet's slope at the target and quality
    1. As a loss: see `_Reward`.
    """

    beta: float = option(-0.07, "negative")

    def _reward(self, quality, r):
        return quality + self.beta * (r - 1).abs()


@dataclass
class Lagrange(HardwareLoss, name="lagrange"):
    """task + multiplier * (r - 1) + stiffness * max(0, |r - 1| - band), both learnt by `update`, row by row.

    The multiplier moves by rho * (r - 1), dual ascent: it starts at 0, rises while a cost is over its budget and never
    falls below 0 (Boyd and Vandenberghe, Convex Optimization, 2004, chapter 5; rho, like all defaults, is ours). It
    finds the right price of cost, but networks come in steps: at that price the best one may still miss the budget by
    one expensive choice. The second term closes that gap, an exact penalty (Nocedal and Wright, Numerical Optimization,
    2006, section 17.2): once a cost has crossed its target, or came within `NEAR` of it, the stiffness rises by
    penalty * (|r - 1| - band) where that is positive, at most penalty * `STRIDE` at a time. It is two-sided, to hold a
    target. For a ceiling that may be left unused take `penalty=0`, the plain multiplier.

    What it learns from decides what meets the budget: an expected cost can be met
    by a mixture that no network equals, so searches show it the most probable architecture.
    """

    rho: float = option(0.3, "positive")
    penalty: float = option(2.0, "0 or more")
    band: float = option(0.02, "0 or more")
    multiplier: Tensor = field(default_factory=zero, init=False)
    stiffness: Tensor = field(default_factory=zero, init=False)
    _side: Tensor = field(default_factory=zero, init=False)  # of the target, first seen
    _close: Tensor = field(default_factory=lambda: torch.tensor(False), init=False)

    def term(self, cost, target):
        """The price of being over the target, and the penalty of being off it."""
        excess = cost / target - 1
        return self.multiplier * excess + self.stiffness * (excess.abs() - self.band).clamp_min(0)

    def slope(self, cost, target):
        excess = cost / target - 1
        return (self.multiplier + self.stiffness * excess.sign() * (excess.abs() >= self.band)) / target

    def update(self, cost, target):
        """One step of dual ascent, row by row. Raises `ParameterError` as calling it does."""
        self.check(target)
        excess = self._checked(cost).detach() / target - 1
        side = excess.sign()
        self._side = torch.where(self._side == 0, side, self._side)
        self._close = self._close | (side != self._side) | (excess.abs() < NEAR)
        outside = (excess.abs() - self.band).clamp(0, STRIDE)
        self.stiffness = self.stiffness + self.penalty * outside * self._close
        self.multiplier = (self.multiplier + self.rho * excess).clamp_min(0)


@dataclass
class LogBarrier(HardwareLoss, name="log_barrier"):
    """task - log(1 - r) / t within the budget, and its tangent from r = 1 - 1/t^2 on (Kervadec et al. 2022).

    The extension is the paper's: finite everywhere, with slope t beyond. Each `update` multiplies t by `growth`, so
    that the barrier is lower inside and steeper outside, up to `steepest`. Their start is 5 and their growth 1.1, for
    updates that are whole epochs; a search has more of them, hence 1.03.
    """

    start: float = option(5.0, "positive")
    growth: float = option(1.03, "1 or more")
    steepest: float = option(300.0, "positive")
    t: Tensor = field(default_factory=zero, init=False)

    def __post_init__(self):
        super().__post_init__()
        self.t = torch.tensor(float(self.start))

    def term(self, cost, target):
        """The barrier, or its tangent."""
        t, left = self.t, 1 - cost / target
        edge = t**-2
        beyond = (edge - left) * t - edge.log() / t
        return torch.where(left > edge, -left.clamp_min(edge).log() / t, beyond)

    def update(self, cost, target):
        """Make the barrier steeper, whatever the cost."""
        self.check(target)
        self.t = (self.t * self.growth).clamp_max(self.steepest)


def names() -> list[str]:
    """The losses that `create` makes."""
    return LOSSES.names()


def create(name: str, **options) -> HardwareLoss:
    """A loss by name, with options. Raises `UnknownName` for a name or an option, `ParameterError` for a value."""
    return LOSSES.create(name, **options)
