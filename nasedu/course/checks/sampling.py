"""Checkers for notebook 05: fair paths, distillation in place, and statistics that average over batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasedu.course.checks import close, exercise, expect, require


@exercise("05.1", "paths of equal chances")
def check_fair_paths(fair_paths: Callable[[Sequence[int], torch.Generator], list[tuple[int, ...]]]) -> None:
    """`fair_paths(choices, generator)`: K architectures for decisions that all have K choices."""
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([torch.tensor([list(p) for p in fair_paths([4, 4, 4], generator)]) for _ in range(200)])
    shape = tuple(draws.shape[1:])
    require(shape == (4, 3), f"a step needs K = 4 paths with an index for each of the 3 decisions, got {shape}")
    balanced = (draws.sort(1).values == torch.arange(4)[:, None]).all()
    require(balanced, "within a step every choice of every decision must be on exactly one of the K paths")
    require(len(draws.unique(dim=0)) > 10, "two steps must differ: draw new permutations every time")
    shifts = (draws[:, :, 0] - draws[:, :, 1]) % 4
    require(shifts.any(1).float().mean() > 0.5, "every decision needs a permutation of its own: here one serves all")
    free = (shifts != shifts[:, :1]).any(1).float().mean() > 0.5
    require(free, "all permutations must be possible, not only shifts of one another")
    share = draws[:, 0].flatten().bincount(minlength=4) / draws[:, 0].numel()
    require((share - 0.25).abs().max() < 0.1, "on each path every choice must be equally likely")
    again = [list(fair_paths([4, 4, 4], torch.Generator().manual_seed(7))) for _ in range(2)]
    require(again[0] == again[1], "the same generator must give the same paths: draw from `generator`")


@exercise("05.2", "the teacher's lesson")
def check_lesson(lesson: Callable[[Tensor, Tensor], Tensor]) -> None:
    """`lesson(student, teacher)`: soft cross-entropy between logits (B, classes); the teacher learns nothing."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(6, 5, generator=generator, requires_grad=True) for _ in range(2))
    loss = lesson(student, teacher)
    require(isinstance(loss, Tensor) and loss.shape == (), "the loss must be one number, the mean over the images")
    require(loss.requires_grad, "the loss must be differentiable in the student's logits")
    p, q = teacher.detach(), student.detach()
    right = F.cross_entropy(q, p.softmax(1))
    hints = (
        (F.cross_entropy(q, p.argmax(1)), "the student must match all that the teacher says, not its best class only"),
        (6 * right, "take the mean over the images, so that the batch size does not matter"),
        (F.cross_entropy(p, q.softmax(1)), "the logarithm belongs to the student: here the two are swapped"),
    )
    expect(loss, right, "the loss must be - sum_c p_c log q_c, with p = softmax(teacher), q = softmax(student)", hints)
    pulled = torch.autograd.grad(loss, teacher, allow_unused=True)[0]
    still = pulled is None or not pulled.any()
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
    require(close(backwards, mean), "the order of the batches must not matter: every batch weighs the same")
    expect(mean, norm.running_mean, "the mean must be the average of the batches' means, over B, H and W")
    pooled = torch.cat(batches).transpose(0, 1).flatten(1).var(1)
    apart = "average the batches' variances: BN never sees how far the means of two batches lie apart"
    biased = torch.stack([b.transpose(0, 1).flatten(1).var(1, correction=0) for b in batches]).mean(0)
    hints = [(pooled, apart), (biased, "BN stores the unbiased variance: divide by n - 1")]
    expect(variance, norm.running_var, "the variance must be the average of the batches' variances", hints)
