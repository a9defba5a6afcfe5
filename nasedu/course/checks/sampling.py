"""Checkers for notebook 05: fair paths, a teacher's lesson, a paired interval, planted faults, and equal prices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasedu.course.checks import ask, close, content, exercise, expect, require
from nasedu.randomness import initialised
from nasedu.ranking import difference


def _steps(answer: Callable, choices: list[int], steps: int) -> Tensor:
    """What the answer draws in so many steps: (steps, paths, decisions)."""
    generator = torch.Generator().manual_seed(0)
    drawn = [[[int(i) for i in path] for path in answer(list(choices), generator)] for _ in range(steps)]
    shape, k, n = np.shape(drawn[0]), choices[0], len(choices)
    require(shape == (k, n), f"a step needs K = {k} paths with an index for each of the {n} decisions, got {shape}")
    return torch.tensor(drawn)


@exercise("05.1", "paths of equal chances")
def check_fair_paths(fair_paths: Callable[[Sequence[int], torch.Generator], list[tuple[int, ...]]]) -> None:
    """`fair_paths(choices, generator)`: K architectures for decisions that all have K choices."""
    draws, others = _steps(fair_paths, [4] * 3, 200), _steps(fair_paths, [3] * 3, 6480)
    balanced = (draws.sort(1).values == torch.arange(4)[:, None]).all()
    require(balanced, "within a step every choice of every decision must be on exactly one of the K paths")
    require(len(draws.unique(dim=0)) > 10, "two steps must differ: draw new permutations every time")
    shifts = (draws[:, :, 0] - draws[:, :, 1]) % 4
    require(shifts.any(1).float().mean() > 0.5, "every decision needs a permutation of its own: here one serves all")
    free = (shifts != shifts[:, :1]).any(1).float().mean() > 0.5
    require(free, "all permutations must be possible, not only shifts of one another")
    share = draws[:, 0].flatten().bincount(minlength=4) / draws[:, 0].numel()
    require((share - 0.25).abs().max() < 0.1, "on each path every choice must be equally likely")
    _steps(fair_paths, [2] * 5, 1)
    counts = others.flatten(1).unique(dim=0, return_counts=True)[1]  # each of 6³ lists is expected 30 times
    excess = float((counts - 30.0).square().sum() / 30) + 30 * (216 - len(counts))  # χ²: 215 ± 21
    require(excess < 320, "all 6³ lists of 3 paths for three decisions must be equally likely: here some are not")
    again = [_steps(fair_paths, [4] * 3, 1) for _ in range(2)]
    require(torch.equal(*again), "the same generator must give the same paths: draw from `generator`")


@exercise("05.2", "the teacher's lesson")
def check_lesson(lesson: Callable[[Tensor, Tensor], Tensor]) -> None:
    """`lesson(student, teacher)`: soft cross-entropy between logits (B, classes); the teacher learns nothing."""
    for images, classes in ((6, 5), (3, 10)):
        _lesson(lesson, images, classes)


def _lesson(lesson: Callable, images: int, classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(images, classes, generator=generator, requires_grad=True) for _ in range(2))
    loss = lesson(student, teacher)
    require(teacher.requires_grad, "the teacher's logits must stay as they are, its own loss needs them: detach a copy")
    require(isinstance(loss, Tensor) and loss.shape == (), "the loss must be one number, the mean over the images")
    require(loss.requires_grad, "the loss must be differentiable in the student's logits")
    p, q = teacher.detach(), student.detach()
    right = F.cross_entropy(q, p.softmax(1))
    hints = (
        (F.cross_entropy(q, p.argmax(1)), "the student must match all that the teacher says, not its best class only"),
        (images * right, "take the mean over the images, so that the batch size does not matter"),
        (F.cross_entropy(p, q.softmax(1)), "the logarithm belongs to the student: here the two are swapped"),
    )
    expect(loss, right, "the loss must be - sum_c p_c log q_c, with p = softmax(teacher), q = softmax(student)", hints)
    pushed, pulled = torch.autograd.grad(loss, (student, teacher), allow_unused=True)
    slope = (q.softmax(1) - p.softmax(1)) / images
    require(
        pushed is not None and close(pushed, slope), "the student must feel the loss: its slope is (q - p) / images"
    )
    still = pulled is None or not pulled.any()
    require(still, "no gradient may reach the teacher: it would learn to agree with its students; detach it")


@exercise("05.3", "an interval for a difference")
def check_interval(interval: Callable[..., tuple[float, float]]) -> None:
    """`interval(a, b, truth, resamples, rng)`: 95 % of τ(a) - τ(b) over resampled cells; scores and truth are (n,)."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=40)
    close_by, far = truth + 0.3 * rng.normal(size=40), truth + 1.5 * rng.normal(size=40)

    def ends(a: np.ndarray, b: np.ndarray, resamples: int = 41) -> tuple[float, float]:
        rng = np.random.default_rng(1)
        low, high = ask(lambda *scores: interval(*scores, resamples, rng), a, b, truth)
        return float(low), float(high)

    require(ends(far, far) == (0, 0), "equal scores differ by 0 on any cells: judge both on the *same* resampled cells")
    low, high = ends(close_by, far)
    drawn = "the ends must differ, the lower one first: draw cells with replacement, so that some are twice"
    require(low < high, drawn)
    require(low > 0, "where a is far better than b, both ends of τ(a) - τ(b) are above 0")
    require(ends(close_by, far) == (low, high), "the same generator must give the same interval: draw from `rng`")
    require(close(ends(far, close_by), (-high, -low)), "with a and b swapped, the interval must become (-high, -low)")
    one = ends(close_by, far, 1)
    require(one[0] == one[1], "one resample has one difference, which is both ends: draw `resamples` times, no more")
    for cell in (0, -1):
        worse = truth.copy()
        worse[cell] = -9.0 if truth[cell] > 0 else 9.0
        bounds = ends(truth, worse)
        require(bounds[0] >= 0, "here no difference is below 0, so no quantile of them is: not the mean and a spread")
        require(bounds[1] > 0, f"every cell must have its chance to be drawn, here number {cell} has none")
    low, high = ends(close_by, far, 3000)
    a, b, t = (pd.Series(values) for values in (close_by, far, truth))
    right = difference(a, b, t, "kendall", resamples=20_000)
    width = right.high - right.low
    share = (high - low) / width
    wide = f"95 % of the differences of n = 40 cells each: yours is {share:.2f} times as wide"
    require(0.92 < share < 1.08, wide)  # 90 % would be 0.84 times as wide, and luck is 0.02
    off = max(abs(low - right.low), abs(high - right.high)) / width
    require(off < 0.055, "the ends must be the 2.5 % and the 97.5 % quantile: as many differences below as above")


class _Net(nn.Module):
    """A supernet of two decisions, each among three linear layers."""

    def __init__(self):
        super().__init__()
        with initialised(0):
            self.layers = nn.ModuleList(nn.ModuleList(nn.Linear(4, 4) for _ in range(3)) for _ in range(2))
        self.double()

    def forward(self, x: Tensor, path: Sequence[int]) -> Tensor:
        for layers, index in zip(self.layers, path, strict=True):
            x = layers[index](x)
        return x


def _train(
    net,
    optimizer,
    x,
    y,
    paths,
    *,
    stale=False,
    restart=False,
    every=False,
    steps=1,
    share=1.0,
    used=slice(None),
    kept=1.0,
):
    """A training step on the sum of the paths' losses; the options plant faults."""
    if not stale:
        optimizer.zero_grad()
    for path in paths[used]:
        if restart:
            optimizer.zero_grad()
        (share * F.cross_entropy(net(x, path), y)).backward()
        if every:
            optimizer.step()
    for _ in range(0 if every else steps):
        optimizer.step()
    for parameter in net.parameters():
        parameter.data *= kept


def _summed(net, optimizer, x, y, paths):
    """The same as `_train`, in one backward pass."""
    optimizer.zero_grad()
    sum(F.cross_entropy(net(x, path), y) for path in paths).backward()
    optimizer.step()


FAULTS = (  # what is planted, and what an answer that believes it has overlooked
    ({"every": True}, "steps after every path, so that the first path changes what the second one trains"),
    ({"restart": True}, "forgets all gradients but the last path's"),
    ({"used": slice(1)}, "runs the first path only"),
    ({"used": slice(2)}, "leaves the last path out"),
    ({"share": 1 / 3}, "averages the gradients, where they must add up"),
    ({"steps": 2}, "lets the optimizer step twice"),
    ({"steps": 0}, "changes no weight at all"),
    (
        {"share": 0.99},
        "makes all gradients smaller by a hundredth: compare weights closely, after a step that is large",
    ),
    ({"kept": 0.999}, "shrinks the weights besides, by no optimizer"),
    ({"stale": True}, "adds to the gradients that the step before left behind: hand it a network that has some"),
)


@exercise("05.4", "which step is strictly fair?")
def check_honest(honest: Callable[..., bool]) -> None:
    """`honest(step, net, x, y, paths)`: whether `step(net, optimizer, x, y, paths)` trains as a step should."""
    net, generator = _Net(), torch.Generator().manual_seed(0)
    x, y = torch.randn(8, 4, generator=generator, dtype=torch.float64), torch.arange(8) % 4
    paths, before = [(0, 1), (1, 2), (2, 0)], content(net)
    for right in (_train, _summed):
        require(honest(right, net, x, y, paths), "it must believe a step whose gradients add up and that steps once")
    kept = content(net) == before and all(parameter.grad is None for parameter in net.parameters())
    require(kept, "the network that was handed in must stay as it was, gradients too: try steps on copies of it")
    for planted, sentence in FAULTS:
        fooled = honest(partial(_train, **planted), net, x, y, paths)
        require(not fooled, f"it believes a step that {sentence}")


@exercise("05.5", "paths of equal price")
def check_equal_paths(equal_paths: Callable[[Sequence[int], torch.Generator], list[tuple[int, ...]]]) -> None:
    """`equal_paths(choices, generator)`: K fair paths, on each of which every choice occurs equally often."""
    for k, n in ((3, 6), (2, 4), (2, 6)):
        drawn = _steps(equal_paths, [k] * n, 600)
        fair = (drawn.sort(1).values == torch.arange(k)[:, None]).all()
        require(fair, "within a step every choice of every decision must be on exactly one of the K paths")
        counts = torch.stack([(drawn == choice).sum(2) for choice in range(k)])
        require((counts == n // k).all(), f"on a path of {n} decisions each of {k} choices must occur {n // k} times")
        pairs = [len((k * drawn[:, :, i] + drawn[:, :, j]).unique()) for i in range(n) for j in range(i)]
        require(min(pairs) == k * k, "two decisions are tied: over many steps all pairs of their choices must occur")
        share = torch.stack([(drawn == choice).double().mean(0) for choice in range(k)])
        even = (share - 1 / k).abs().max() < 0.09
        require(even, "over many steps every choice must be equally frequent at every decision of every path")
    again = [_steps(equal_paths, [3] * 6, 1) for _ in range(2)]
    require(torch.equal(*again), "the same generator must give the same paths: draw from `generator`")
