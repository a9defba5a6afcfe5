"""How far a student's probabilities are from a teacher's: losses of distillation, per sample, from log-probabilities.

A divergence is any function of (teacher's, student's) log-probabilities (..., classes) that returns (...); the teacher
gets no gradient from these.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cross_entropy(log_p: Tensor, log_q: Tensor) -> Tensor:
    """-sum p log q, whose gradient is that of KL(p || q) (in-place distillation: Yu and Huang 2019, section 3.3)."""
    return -(log_p.detach().exp() * log_q).sum(-1)


def alpha_divergence(
    log_p: Tensor, log_q: Tensor, alphas: tuple[float, ...] = (-1.0, 1.0), clip: float = 5.0
) -> Tensor:
    """AlphaNet's adaptive alpha-divergence (Wang et al. 2021, eq. 4 to 8): per sample the largest of several.

        D_a(p || q) = (sum q (p / q)^a - 1) / (a (a - 1)),   a -> 1: KL(p || q),   a -> 0: KL(q || p)

    Where a student gives much to what the teacher gives little, D of a negative alpha is the larger; where it gives too
    little, KL is. The gradient is the surrogate's, -sum q rho log q with q and rho held fixed: that of D itself where
    nothing is clipped.

    log_p: of the teacher (..., classes).
    log_q: of the student, likewise.
    alphas: that are compared; the public code's are -1 and 1.
    clip: the most that (p / q)^a may be; 5 in the public code. KL is not clipped.
    """
    log_p = log_p.detach()
    found = [_divergence(log_p, log_q.detach(), alpha, clip) for alpha in alphas]
    values = torch.stack([value for value, _ in found])
    largest = values.argmax(0, keepdim=True)
    weights = torch.stack([weight for _, weight in found])
    weight = weights.gather(0, largest[..., None].expand(1, *weights.shape[1:]))[0]
    surrogate = -(weight * log_q).sum(-1)
    return values.gather(0, largest)[0] + surrogate - surrogate.detach()


def _divergence(log_p: Tensor, log_q: Tensor, alpha: float, clip: float) -> tuple[Tensor, Tensor]:
    """D (...), and q rho (..., classes), by which the surrogate weighs log q. In log space, for p / q overflows."""
    q, log_t = log_q.exp(), log_p - log_q
    if alpha == 1:
        return (log_p.exp() * log_t).sum(-1), log_p.exp()
    if alpha == 0:
        return -(q * log_t).sum(-1), q * (log_t - 1)
    ratio = (alpha * log_t).exp().clamp(max=clip)
    return ((q * ratio).sum(-1) - 1) / (alpha * (alpha - 1)), q * ratio / alpha
