"""Checkers for notebook 05: fair paths, distillation in place, and statistics that average over batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasedu.course.checks import exercise, require

CHOICES = [4, 4, 4]


def _close(a: object, b: Tensor, tolerance: float = 1e-4) -> bool:
    a = torch.as_tensor(a)
    return a.shape == b.shape and bool(torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance))


@exercise("05.1", "paths of equal chances")
def check_fair_paths(fair_paths: Callable[[Sequence[int], torch.Generator], list[tuple[int, ...]]]) -> None:
    """`fair_paths(choices, generator)`: K architectures for decisions that all have K choices."""
    generator = torch.Generator().manual_seed(0)
    steps = [torch.tensor([list(path) for path in fair_paths(CHOICES, generator)]) for _ in range(200)]
    shape = tuple(steps[0].shape)
    require(shape == (4, 3), f"a step needs K = 4 paths with an index for each of the 3 decisions, got {shape}")
    for step in steps:
        balanced = bool((step.sort(0).values == torch.arange(4)[:, None]).all())
        require(balanced, "within a step every choice of every decision must be on exactly one of the K paths")
    draws = torch.stack(steps)
    require(len(draws.unique(dim=0)) > 10, "two steps must differ: draw new permutations every time")
    apart = (draws[:, :, 0] != draws[:, :, 1]).any(1).float().mean()
    require(apart > 0.5, "every decision needs a permutation of its own: here one serves them all")
    shifts = (draws[:, :, 0] - draws[:, :, 1]) % 4
    require(
        (shifts != shifts[:, :1]).any(1).float().mean() > 0.5,
        "all permutations must be possible, not only shifts of one another",
    )
    _check_first(draws)
    again = [fair_paths(CHOICES, torch.Generator().manual_seed(7)) for _ in range(2)]
    require(list(again[0]) == list(again[1]), "the same generator must give the same paths: draw from `generator`")


def _check_first(draws: Tensor) -> None:
    """On the first path every choice is equally likely."""
    share = draws[:, 0].flatten().bincount(minlength=4) / draws[:, 0].numel()
    require((share - 0.25).abs().max() < 0.1, "on each path every choice must be equally likely")


@exercise("05.2", "the teacher's lesson")
def check_lesson(lesson: Callable[[Tensor, Tensor], Tensor]) -> None:
    """`lesson(student, teacher)`: soft cross-entropy between logits (B, classes); the teacher learns nothing."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(6, 5, generator=generator, requires_grad=True) for _ in range(2))
    loss = lesson(student, teacher)
    require(isinstance(loss, Tensor) and loss.shape == (), "the loss must be one number, the mean over the images")
    require(loss.requires_grad, "the loss must be differentiable in the student's logits")
    expected = F.cross_entropy(student, teacher.detach().softmax(1))
    hard = F.cross_entropy(student, teacher.detach().argmax(1))
    require(not _close(loss, hard), "the student must match all the teacher's probabilities, not its best class only")
    require(not _close(loss, 6 * expected), "take the mean over the images, so that the batch size does not matter")
    swapped = F.cross_entropy(teacher.detach(), student.detach().softmax(1))
    require(not _close(loss, swapped), "the logarithm belongs to the student: here student and teacher are swapped")
    right = _close(loss, expected)
    require(right, "the loss must be - sum_c p_c log q_c, with p = softmax(teacher) and q = softmax(student)")
    pulled = torch.autograd.grad(loss, teacher, allow_unused=True)[0]
    still = pulled is None or not pulled.abs().max() > 0
    require(still, "no gradient may reach the teacher: it would learn to agree with its students; detach it")


@exercise("05.3", "statistics for the network at hand")
def check_statistics(statistics: Callable[[list[Tensor]], tuple[Tensor, Tensor]]) -> None:
    """`statistics(batches)`: running mean and variance (C,) that BN holds after batches (B, C, H, W), all alike."""
    generator = torch.Generator().manual_seed(0)
    batches = [3 * i + (1 + i) * torch.randn(8, 2, 3, 3, generator=generator) for i in range(4)]
    norm = nn.BatchNorm2d(2, momentum=None)
    for batch in batches:
        norm(batch)
    mean, variance = (torch.as_tensor(part) for part in statistics(batches))
    require(mean.shape == (2,) and variance.shape == (2,), "a mean and a variance for each channel: two of shape (C,)")
    backwards, _ = statistics(batches[::-1])
    require(_close(backwards, mean), "the order of the batches must not matter: every batch weighs the same")
    require(_close(mean, norm.running_mean), "the mean must be the average of the batches' means, over B, H and W")
    pooled = torch.cat(batches).transpose(0, 1).flatten(1).var(1)
    require(
        not _close(variance, pooled, 1e-2),
        "average the batches' variances: BN never sees how far the means of two batches lie apart",
    )
    biased = torch.stack([b.transpose(0, 1).flatten(1).var(1, correction=0) for b in batches]).mean(0)
    require(not _close(variance, biased, 1e-3), "BN stores the unbiased variance: divide by n - 1")
    require(_close(variance, norm.running_var), "the variance must be the average of the batches' variances")
