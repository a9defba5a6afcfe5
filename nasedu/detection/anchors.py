"""Anchors: prior box sizes, fitted to data, and which of them, in which cells, must find which object.

The matching rule is that of Scaled-YOLOv4 (Wang et al. 2021): an anchor takes an object when neither side
differs by a factor of `ratio` or more, and the object's own cell shares it with the two nearest neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nasedu.errors import DataError
from nasedu.randomness import rng

RATIO = 4.0  # a prediction is at most (2 sigmoid)^2 = 4 times its anchor


class Assignment(NamedTuple):
    """Positives of one scale: five int64 tensors (p,). `target` is the row in the batch's targets."""

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    target: Tensor


def side_ratio(boxes_wh: Tensor, anchors: Tensor) -> Tensor:
    """The factor (n, A) by which box and anchor differ on their worse side; infinite for an empty box."""
    ratio = boxes_wh.clamp(min=0)[:, None] / anchors[None]
    return torch.maximum(ratio, 1 / ratio).amax(dim=-1)


def best_possible_recall(boxes_wh: Tensor, anchors: Tensor, ratio: float = RATIO) -> float:
    """The share of boxes that at least one anchor may be assigned to, 0 to 1.

    boxes_wh: their sizes (n, 2).
    anchors: (..., 2).
    ratio: the factor between sides that an anchor stays below.
    """
    if len(boxes_wh) == 0:
        raise DataError("the best possible recall needs at least one box")
    factor = side_ratio(torch.as_tensor(boxes_wh).float(), torch.as_tensor(anchors).float().reshape(-1, 2))
    return (factor.amin(dim=1) < ratio).float().mean().item()


def fit_anchors(boxes_wh: Tensor, scales: int, per_scale: int, seed: int = 0) -> Tensor:
    """k-means centres of box sizes by area: anchors (scales, per_scale, 2), smallest first.

    Widths and heights are divided by their standard deviations before, so that both count alike (as YOLOv5's code).
    Where there are fewer distinct sizes than anchors, each size is one, and so are copies of it that are smaller and
    larger by steps of the fourth root of 2: nine anchors of a single size reach from half to twice of it. Raises
    `DataError` where there is no box.

    boxes_wh: (n, 2).
    scales: of the network's output.
    per_scale: anchors of each.
    seed: of the first centres.
    """
    sizes, count = torch.as_tensor(boxes_wh).double().reshape(-1, 2), scales * per_scale
    distinct = sizes.unique(dim=0)
    if not len(distinct):
        raise DataError("anchors are fitted to the sizes of boxes, and the data has no box")
    if len(distinct) < count:
        steps = [(-1) ** i * ((i + 1) // 2) / 4 for i in range(count)]  # 0, then a step down, a step up, two down ...
        centres = torch.cat([distinct * 2**step for step in steps])[:count].float()
    else:
        from sklearn.cluster import KMeans  # seconds to import: only for those who fit anchors

        spread = sizes.std(dim=0, correction=0).clamp_min(1e-9)
        fit = KMeans(count, n_init=10, random_state=seed).fit((sizes / spread).numpy())
        centres = (torch.from_numpy(fit.cluster_centers_) * spread).float()
    return centres[centres.prod(dim=1).argsort()].reshape(scales, per_scale, 2)


def evolve_anchors(
    boxes_wh: Tensor, anchors: Tensor, generations: int = 1000, seed: int = 0, ratio: float = RATIO
) -> Tensor:
    """Anchors that mutation and selection made fit the boxes better; the shape stays, smallest first.

    As the public training's autoanchor: in each generation every side is multiplied, with probability .9, by a draw
    from N(1, .1) times another uniform draw, within .3 to 3, and kept above 2 pixels; the child lives where its
    fitness is higher: the mean over boxes of how well the best anchor meets them (the worse side's ratio, at most 1), 0
    where none does within `ratio`.

    boxes_wh: (n, 2).
    anchors: (scales, A, 2) in pixels.
    generations: how many.
    seed: of the draws.
    ratio: as in `best_possible_recall`.
    """
    sizes, drawn = torch.as_tensor(boxes_wh).float().reshape(-1, 2), rng(seed, "anchors")
    best = torch.as_tensor(anchors).float().reshape(-1, 2)
    if not len(sizes):
        raise DataError("anchors are fitted to the sizes of boxes, and the data has no box")

    def fitness(candidate: Tensor) -> float:
        met = 1 / side_ratio(sizes, candidate).amin(dim=1)
        return float((met * (met > 1 / ratio)).mean())

    score = fitness(best)
    for _ in range(generations):
        shape = tuple(best.shape)
        change = (drawn.random(shape) < 0.9) * drawn.random() * drawn.standard_normal(shape) * 0.1 + 1
        child = (best * torch.from_numpy(change.clip(0.3, 3.0)).float()).clamp(min=2.0)
        if (reached := fitness(child)) > score:
            best, score = child, reached
    return best[best.prod(dim=1).argsort()].reshape(tuple(anchors.shape))


def assign(
    targets: Tensor,
    anchors: Tensor,
    strides: Sequence[int],
    shapes: Sequence[tuple[int, int]],
    ratio: float = RATIO,
) -> list[Assignment]:
    """Positives of every scale.

    An object may be taken by several anchors and scales, and in up to three cells of each; one that no
    anchor fits is taken by none.

    targets: (n, 6).
    anchors: (scales, A, 2) in pixels.
    strides: of each scale.
    shapes: the maps' (H, W).
    ratio: as in `best_possible_recall`.
    """
    return [
        Assignment(*(index[valid] for index in found))  # in order of cell, then of object and anchor
        for found, valid in candidates(targets, anchors, strides, shapes, ratio)
    ]


def candidates(
    targets: Tensor,
    anchors: Tensor,
    strides: Sequence[int],
    shapes: Sequence[tuple[int, int]],
    ratio: float = RATIO,
) -> list[tuple[Assignment, Tensor]]:
    """Every scale's pairs of an object and an anchor in each of three cells, 3 * n * A, and which are positives.

    Their number is known before anything is computed, so that a GPU is not waited for. What is no positive lies in a
    cell that is there. Which are: bool (3 * n * A,).

    targets: (n, 6).
    anchors: (scales, A, 2) in pixels.
    strides: of each scale.
    shapes: the maps' (H, W).
    ratio: as in `best_possible_recall`.
    """
    return [_candidates(targets, *scale, ratio) for scale in zip(anchors, strides, shapes, strict=True)]


def _candidates(
    targets: Tensor, anchors: Tensor, stride: int, shape: tuple[int, int], ratio: float
) -> tuple[Assignment, Tensor]:
    low, high, count = targets[:, 2:4], targets[:, 4:6], len(anchors)
    fits = (side_ratio(high - low, anchors) < ratio).flatten()
    target = torch.arange(len(targets), device=targets.device).repeat_interleave(count)
    anchor = torch.arange(count, device=targets.device).repeat(len(targets))
    centre = ((low + high) / (2 * stride))[target]
    places = torch.tensor([[1.0, 0.0], [0.0, 1.0], [shape[1] - 1.0, shape[0] - 1.0]])
    right, below, last = places.to(centre, non_blocking=True)
    own = centre.floor().clamp(min=0).minimum(last)
    step = torch.sign(centre - own - 0.5)  # towards the nearer neighbour; 0 exactly between the two
    cells = torch.stack([own, own + step * right, own + step * below])
    exists = torch.stack([torch.ones_like(step[:, 0]), step[:, 0], step[:, 1]]) != 0
    valid = exists & ((cells >= 0) & (cells <= last)).all(dim=-1) & fits
    column, row = cells.clamp(min=0).minimum(last).long().flatten(0, 1).unbind(dim=-1)
    target, anchor = target.repeat(3), anchor.repeat(3)
    return Assignment(targets[target, 0].long(), anchor, row, column, target), valid.flatten()
