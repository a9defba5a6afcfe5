"""Proxies that read the gradient of the outputs to the images: does the network react to each image in its own way?

J_n = d(sum of the logits of image n) / d(image n), flattened. The network runs in training mode, so that images are
tied through their common statistics; the sum over the batch is differentiated at once, as the published code does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nasedu.errors import ParameterError, ProxyError, check_whole
from nasedu.proxies.probe import Probe
from nasedu.proxies.registry import register

K = 1e-5  # the published code's constant, which keeps logarithm and inverse finite


@register("jacob_cov", needs="images", reads=("jacobian",), passes="1 forward, 1 backward to the images")
def jacob_cov(probe: Probe) -> float:
    """-Sum_i [ln(l_i + k) + 1 / (l_i + k)], l_i the eigenvalues of the correlation of J's rows, k = 1e-5.

    Mellor et al. 2020 (NASWOT's first version). Higher is better; at most about -B, for B uncorrelated rows, and
    about -1e5 lower for every pair of images with the same J. The eigenvalues of a symmetric matrix are real: they
    are computed as such, and rounding below zero is cut off. Cannot see: labels, the size of J.
    """
    values = torch.linalg.eigvalsh(correlations(probe.jacobian)).clamp_min(0)
    return -float((torch.log(values + K) + 1 / (values + K)).sum())


@register("epe_nas", needs="labels", reads=("jacobian",), passes="1 forward, 1 backward to the images")
def epe_nas(probe: Probe, *, classes: int | None = None) -> float:
    """Sum over classes of |s_c|, s_c = Sum of ln(|corr(J_c)| + k) over the images of class c, k = 1e-5.

    EPE-NAS (Lopes et al. 2021, section 3). Higher is better: within a class, images should be told apart. For more
    than 100 `classes` s_c is divided by the images n_c of the class, and the score is Sum_{c, d} |s_c - s_d| over all
    ordered pairs, divided by the classes in the batch. `classes` is the data set's number of them; None counts those
    in the batch, as NASLib's code does, which for a batch of up to 100 images is the first form whatever the data. A
    class with one image gives about 0 and says nothing: with many classes take a large batch. Raises `ParameterError`
    where every class has one image. Cannot see: the size of J, how classes differ from one another.
    """
    if classes is not None:
        check_whole("classes of epe_nas", classes)
    present, sizes = probe.labels.unique(return_counts=True)
    if sizes.max() < 2:
        raise ParameterError("epe_nas compares images of one class: every class of this batch has a single image")
    by_class = (correlations(probe.jacobian[probe.labels == c]) for c in present)
    sums = torch.stack([torch.log(found.abs() + K).sum() for found in by_class])
    if (classes or len(present)) <= 100:
        return float(sums.abs().sum())
    sums = sums / sizes
    return float((sums[:, None] - sums[None, :]).abs().sum() / len(present))


def correlations(rows: Tensor) -> Tensor:
    """Pearson correlations (B, B), float64, of the rows of (B, D). Raises `ProxyError` for a row without variation."""
    rows = rows.double()
    if (rows.amax(1) == rows.amin(1)).any():
        raise ProxyError("the outputs do not depend on the images: the rows of the jacobian are constant")
    return torch.corrcoef(rows).clamp(-1, 1)
