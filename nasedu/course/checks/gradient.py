"""Checkers for notebook 06: hard gates, a step for two, REINFORCE, faulty steps, looking ahead, stopping in time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nasedu.course.checks import ask, close, exercise, expect, require

Loss = Callable[[Tensor, Tensor, tuple], Tensor]  # of weights, logits and a batch
Step = Callable[[Tensor, Tensor, tuple, tuple], tuple[Tensor, Tensor]]  # weights, logits and a batch of each half
RATE = 0.1  # of the steps of exercise 06.4


@exercise("06.1", "hard forward, soft backward")
def check_hard_gumbel(hard_gumbel: Callable[[Tensor, Tensor, float], Tensor]) -> None:
    """`hard_gumbel(alpha, noise, temperature)`: one-hot where alpha + noise is largest; the slope of its softmax."""
    _hard(hard_gumbel, torch.tensor([0.5, 0.2, -0.4, 0.1]), torch.tensor([-0.3, 0.1, 1.6, 0.2]), 0.5)
    draw = torch.Generator().manual_seed(0)
    for choices, temperature in ((3, 0.2), (6, 2.0), (9, 4.0), (9, 5.0)):
        for _ in range(8):
            _hard(hard_gumbel, *torch.randn(2, choices, generator=draw), temperature)


def _hard(hard_gumbel: Callable, alpha: Tensor, noise: Tensor, temperature: float) -> None:
    free, best = alpha.clone().requires_grad_(), int((alpha + noise).argmax())
    got = torch.as_tensor(ask(hard_gumbel, free, noise, temperature))
    require(got.shape == alpha.shape, "a decision needs one weight per choice: the shape of alpha")
    require(not close(got, alpha.softmax(0)), "the weights are still soft: one must be 1 and all others 0")
    ones = sorted(got.tolist()) == [0] * (len(alpha) - 1) + [1]
    require(ones, "the weights must be exactly 0 and 1: only then can the other operations be left out")
    deaf = int(got.argmax()) == int(alpha.argmax()) != best
    require(not deaf, "the noise decides, too: the 1 belongs where alpha + noise is largest")
    require(int(got.argmax()) == best, "the 1 belongs where alpha + noise is largest")
    require(got.requires_grad, "nothing is passed back to alpha: a one-hot vector alone has no gradient")
    by_weight = torch.linspace(-2, 3, len(alpha)) ** 2
    right = [(noise, temperature), (noise, 1.0), (0 * noise, temperature)]  # and two mistakes
    slopes = [torch.autograd.grad(((free + z) / T).softmax(0) @ by_weight, free)[0] for z, T in right]
    hints = zip(
        slopes[1:], ("divide by the temperature in the slope, too", "the slope must feel the noise"), strict=True
    )
    (slope,) = torch.autograd.grad(got @ by_weight, free)
    expect(slope, slopes[0], "the slope must be that of softmax((alpha + noise) / temperature)", hints)


@exercise("06.2", "a step for two, and nobody else")
def check_keep_others(keep_others: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """`keep_others(before, after, pair)`: logits (n,) whose choices outside `pair` (2,) keep their probabilities."""
    logits = torch.tensor([0.4, -0.3, 1.2, 0.0, 0.6])
    for before, pair, moved, case in (
        (logits, [1, 2], [0.9, -0.2], ""),
        (logits, [1, 2], [0.3, -0.9], ", also where the step made the pair less probable"),
        (logits[:4], [3, 0], [0.5, 0.4], ", also for the pair 3 and 0"),
        (logits + 100, [0, 4], [0.5, -0.3], ", also where all logits are 100 larger: exp(100) overflows"),
    ):
        _kept(keep_others, before, torch.tensor(pair), torch.tensor(moved), case)


def _kept(keep_others: Callable, before: Tensor, pair: Tensor, moved: Tensor, case: str) -> None:
    after, others = before.index_add(0, pair, moved), torch.ones(len(before)).bool().index_fill(0, pair, False)
    got = torch.as_tensor(ask(keep_others, before, after, pair, keep="do not change `after` itself: return new logits"))
    require(got.shape == before.shape, "return a logit for every choice: the shape of `before`")
    p, q = before.softmax(0), got.softmax(0)
    expect(q[others], p[others], f"the probabilities of the choices that were not drawn must stay as they were{case}")
    within = "what the step did within the pair must remain: take the same number off both of its logits"
    expect(got[pair].diff(), after[pair].diff(), within)
    expect(got[others], before[others], "leave the other logits alone: move the pair instead", tolerance=1e-5)


@exercise("06.3", "REINFORCE with a baseline")
def check_reinforce(reinforce: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """`reinforce(alpha, drawn, losses)`: the slope of the expected loss (n,), from draws (m,) and their losses (m,)."""
    alpha, loss_of = torch.tensor([0.4, -0.6, 0.9, 0.2]).double(), torch.tensor([2.5, 2.1, 2.9, 2.2]).double()
    for n, m in ((3, 3), (4, 2)):
        _estimates(reinforce, alpha[:n], loss_of[:n], m)


def _estimates(reinforce: Callable, alpha: Tensor, loss_of: Tensor, m: int) -> None:
    n = len(alpha)
    p, draws = alpha.softmax(0), [torch.tensor(d) for d in itertools.product(range(n), repeat=m)]

    def every(offset: float) -> Tensor:
        """The estimates (n^m, n) from all draws of m, with `offset` added to all losses."""
        given = [(d, loss_of[d] + offset) for d in draws]
        rows = [torch.as_tensor(ask(lambda *x: reinforce(alpha.clone(), *x), *x)).detach().double() for x in given]
        require(rows[0].shape == alpha.shape, "the slope needs one number per logit: the shape of alpha")
        return torch.stack(rows)

    weight = torch.stack([p[d].prod() for d in draws])  # how likely each is: so the mean is exact
    plain, lifted, slope = every(0.0), every(100.0), p * (loss_of - p @ loss_of)
    hints = (
        (
            (m - 1) / m * slope,
            "a baseline that holds the draw's own loss shrinks the slope by (m - 1) / m: leave it out",
        ),
        (m * slope, "take the mean over the draws, not their sum"),
        (-slope, "this is the slope itself; descent takes it off the logits later"),
    )
    expect(weight @ plain, slope, "biased: over all draws the mean must be the slope of the expected loss", hints)
    noise, bare = (float(weight @ (rows - slope).square().sum(1)) for rows in (plain, _bare(alpha, draws, loss_of)))
    require(noise < 0.9 * bare, f"a baseline must lower the variance: {noise:.2f}, and {bare:.2f} without one")
    same = close(lifted, plain)
    require(same, "100 more for all losses tells nothing about the choices: no estimate may change")


def _bare(alpha: Tensor, draws: Sequence[Tensor], loss_of: Tensor) -> Tensor:
    """REINFORCE without a baseline: (draws, n)."""
    p = alpha.softmax(0)
    return torch.stack([((torch.eye(len(p))[d] - p) * loss_of[d, None]).mean(0) for d in draws])


def _toy_loss(w: Tensor, a: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
    """How far a mixture of two operations on x (n, 3), a learnt and a fixed one, is from y (n,)."""
    (x, y), p = batch, a.softmax(0)
    return (p[0] * (x @ w) + p[1] * x.sum(1) - y).square().mean()


def _slopes(loss: Loss, w: Tensor, a: Tensor, batch: tuple) -> tuple[Tensor, Tensor]:
    w, a = w.detach().clone().requires_grad_(), a.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(w, a, batch), (w, a))


def _step(
    of_logits: str = "held", of_weights: str = "own", logit_rate: float = RATE, also: float = 0.0, old: str = ""
) -> Step:
    """A step of both sides; with other arguments than these a faulty one. `old` is what takes the old logits."""

    def step(w: Tensor, a: Tensor, own: tuple, held_out: tuple) -> tuple[Tensor, Tensor]:
        """New weights and logits, on a batch for the weights and one for the logits."""
        halves = {"own": own, "held": held_out}
        by_held, by_logits = _slopes(_toy_loss, w, a, halves[of_logits])
        new = a - logit_rate * by_logits
        by_weights, _ = _slopes(_toy_loss, w, a if old == "weights" else new, halves[of_weights])
        return w - RATE * (by_weights + also * by_held), a if old == "answer" else new

    return step


STEPS = (
    (_step(), ""),
    (_step(of_logits="own"), "whose logits learn from the images of the weights"),
    (_step(of_weights="held"), "whose weights learn from the images of the logits"),
    (_step(also=1.0), "whose weights move along the logits' loss as well, for its gradient was never cleared"),
    (_step(logit_rate=-RATE), "whose logits climb their loss"),
    (_step(logit_rate=0.0), "whose logits never move"),
    (_step(logit_rate=1.05 * RATE), "whose logits move by 0.105 times their slope: compare more closely"),
    (_step(old="weights"), "whose weights still step with the old logits"),
    (_step(old="answer"), "whose weights are right, and which returns the old logits"),
)


@exercise("06.4", "the step that learns from the wrong half")
def check_sound(sound: Callable[[Step, Loss], bool]) -> None:
    """`sound(step, loss)`: whether logits step on the held-out batch and then weights, alone, on their own."""
    for step, fault in STEPS:
        passed = sound(step, _toy_loss)
        require(isinstance(passed, bool) or passed in (0, 1), "answer with True or False")
        require(not passed or not fault, f"you let a step pass {fault}")
        require(passed or fault, "you reject a step that is sound: logits first, then the weights with the new logits")


@exercise("06.5", "two passes in place of a second derivative")
def check_curvature(curvature: Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], Tensor]) -> None:
    """`curvature(slope, w, v)`: d/dw slope(w) · v from two calls of `slope`, which gives a gradient (n,) at w (m,)."""
    torch_rng = torch.Generator().manual_seed(6)
    mixed, bend = (torch.randn(*shape, generator=torch_rng).double() for shape in ((2, 5), (2, 5)))
    w, v, calls = torch.linspace(-1, 1, 5).double(), torch.tensor([3.0, -1.0, 0.5, 2.0, -2.0]).double(), []

    def slope(at: Tensor) -> Tensor:
        """A slope in logits (2,) that bends a little as the weights (5,) move."""
        calls.append(at.clone())  # it may be w itself, moved and moved back
        return mixed @ at + 0.1 * bend @ at**3

    got = torch.as_tensor(ask(lambda *at: curvature(slope, *at), w, v, keep="w and v must stay as they were"))
    exact = (mixed + 0.3 * bend * w**2) @ v
    require(len(calls) == 2, f"two passes are the price; you took {len(calls)}")
    require(got.shape == exact.shape, "the product has one number per logit: the shape of slope(w)")
    one_sided = any(torch.equal(at, w) for at in calls)
    require(not one_sided, "step to both sides: from w itself to one side the error falls more slowly")
    for moved in (float((at - w).norm()) for at in calls):
        by = f"you moved the weights by {moved:.2g}: take ε = 0.01 / |v|, so that they move by 0.01"
        require(abs(moved - 0.01) < 1e-4, by)
    hints = ((-exact, "w + ε v less w - ε v, not the other way round"), (2 * exact, "both are 2 ε apart"))
    expect(got, exact, "that is not the slope's change along v: (slope(w + ε v) - slope(w - ε v)) / 2 ε", hints)
    large = curvature(slope, w, 1e4 * v)
    expect(large, 1e4 * exact, "a longer v must give as much more: ε must shrink with the length of v", tolerance=1e-3)


RECORDS = (  # probabilities of skip, after how many epochs to stop, and why
    (
        [[0.6, 0.7, 0.2, 0.3], [0.2, 0.3, 0.6, 0.7]] * 3,
        6,
        "two skips at a time are allowed, also if they change places",
    ),
    ([[0.6, 0.5, 0.5, 0.5], [0.7, 0.6, 0.5, 0.4]] * 2, 4, "a tie is no skip, also beside edges that are decided"),
    (
        [[0.4] * 4, [0.51, 0.6, 0.1, 0.52], [0.4] * 4],
        1,
        "an edge takes skip where it has more than 0.5, however little",
    ),
    ([[0.4] * 9, [0.4] * 9, [0.6] * 9], 2, "four skips or more at once are too many as well"),
    ([[0.1, 0.2, 0.9, 0.9, 0.8], [0.2] * 5], 0, "no epoch came before a crowd in the first one: then the answer is 0"),
)


@exercise("06.6", "stop in time")
def check_stop(stop: Callable[[Tensor], int]) -> None:
    """`stop(skip)`: after how many epochs to stop, from the probability of skip against convolution (epochs, 6)."""
    warm, calm = torch.full((3, 6), 0.5), torch.tensor([0.6, 0.55, 0.3, 0.2, 0.1, 0.4])
    crowd = torch.tensor([0.7, 0.6, 0.6, 0.2, 0.1, 0.4])
    full = torch.cat([warm, calm.repeat(4, 1), crowd.repeat(5, 1)])
    patient = int(stop(calm.repeat(6, 1)))
    require(patient == 6, "two skips are allowed: where there are never more, the search runs to its end")
    got = int(ask(stop, full, keep="the record must stay as it was"))
    require(got > 3, "while all probabilities are equal nothing was chosen yet: a tie is no skip")
    require(got < 8, "after so many epochs the cell has three skips: stop before the epoch in which they appear")
    require(got == 7, f"the last epoch before the third skip is number 7; you stop after {got}")
    later = int(stop(torch.cat([full, calm.repeat(4, 1)])))
    require(later == got, "a search cannot look ahead: stop at the first crowd, also if it would thin out later")
    prefix = [int(stop(full[:n])) for n in range(1, 8)]
    require(prefix == [*range(1, 8)], "as long as there were at most two skips, go on: return the epochs so far")
    for rows, right, sentence in RECORDS:
        expect(stop(torch.tensor(rows)), right, sentence)
