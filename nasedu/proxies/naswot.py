"""NASWOT: how differently a network's activation signs tell the inputs of a batch apart (Mellor et al. 2021).

The input of every activation is read as a binary code c_n = 1[x_n > 0] of image n. Two images with equal codes lie in
the same linear region. K_ij counts the units on which images i and j agree; the score is log |det K|.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nasedu.errors import check_name
from nasedu.proxies.activations import WatchActivations, no_activation
from nasedu.proxies.probe import Probe, total
from nasedu.proxies.registry import register

EXACT = 2**24  # units whose number single precision counts


@register("naswot", needs="images", reads=("codes",), passes="1 forward")
def naswot(probe: Probe, *, counted: str = "all") -> float:
    """log |det K| over all activations, K = sum_l C C^T + (1 - C)(1 - C)^T (Mellor et al. 2021, eq. 2).

    Higher is better. -inf where K is singular, as it is for two images with the same code: in a batch of identical
    images no network tells anything apart. It grows with the batch and with the number of units, so compare networks
    on the same batch. `counted="reached"` leaves out activations from which nothing leads to the outputs, as the
    authors' code does; it costs a backward pass. Cannot see: labels, scales, whatever lies behind the last activation;
    activations by `torch.where` or by products with a mask, which are left out without a word where others are seen.
    """
    check_name("count of naswot", counted, ("all", "reached"))
    kernel = sum(agreement(code) for code in (probe.codes if counted == "all" else reached_codes(probe)))
    return -math.inf if singular(kernel) else log_det(kernel, jitter=0.0)


def reached_codes(probe: Probe) -> list[Tensor]:
    """Codes, bool (B, units), of the activations that a gradient of the outputs reaches, be it zero.

    Raises `ProxyError` where there is none.
    """
    seen: list[tuple[Tensor, Tensor]] = []
    images = probe.images.detach().requires_grad_()
    with WatchActivations(lambda x: seen.append((x, x.detach().flatten(1) > 0))):
        outputs = probe.model(images.clone())
    seen = [(x, code) for x, code in seen if x.requires_grad]
    if not seen:
        raise no_activation(probe.original)
    found = torch.autograd.grad(total(outputs), [x for x, _ in seen], allow_unused=True)
    codes = [code for (_, code), gradient in zip(seen, found, strict=True) if gradient is not None]
    if not codes:
        raise no_activation(probe.original)
    return codes


def signs(x: Tensor) -> Tensor:
    """1 where x > 0 and -1 elsewhere, (B, units) of an activation's input (B, ...)."""
    return torch.where(x.flatten(1) > 0, 1.0, -1.0)


def agreement(x: Tensor) -> Tensor:
    """K (B, B), float64, of one activation's input (B, ...): on how many units each pair of images agrees in sign.

    Of codes of 1 and -1 the product is the units on which a pair agrees less those on which it does not.
    """
    codes = signs(x)
    # a sum of 2^24 ones is still exact
    agreed = sum((part @ part.T).double() for part in codes.split(EXACT, dim=1))
    return (agreed + codes.shape[1]) / 2


def singular(kernel: Tensor) -> bool:
    """Whether two images have the same code, or K's least eigenvalue is zero but for rounding."""
    off = kernel - kernel.diagonal().diag()
    if (off >= kernel.diagonal().min()).any():
        return True
    values = torch.linalg.eigvalsh(kernel)
    return bool(values[0] <= len(values) * torch.finfo(values.dtype).eps * values[-1])


def log_det(kernel: Tensor, jitter: float = 1e-6) -> float:
    """log |det(K + jitter * mean diagonal * I)|; the jitter keeps it finite when two images share every code."""
    return float(log_dets(kernel, jitter))


def log_dets(kernels: Tensor, jitter: float = 1e-6) -> Tensor:
    """`log_det` of many kernels (..., B, B) at once: (...)."""
    ridge = jitter * kernels.diagonal(dim1=-2, dim2=-1).mean(-1)
    eye = torch.eye(kernels.shape[-1], dtype=kernels.dtype, device=kernels.device)
    return torch.linalg.slogdet(kernels + ridge[..., None, None] * eye).logabsdet
