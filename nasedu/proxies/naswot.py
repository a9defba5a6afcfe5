"""NASWOT: how differently a network's activation signs tell the inputs of a batch apart (Mellor et al. 2021).

Every activation map of input n is read as a binary code c_n = 1[out > 0]. Two inputs with equal codes lie in the same
linear region. K_ij counts the units on which inputs i and j agree; the score is log |det K|.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nasedu.blocks import ACTIVATIONS, evaluation_mode

_ACTIVATIONS = tuple(ACTIVATIONS.values())


class AgreementKernel:
    """Sums K over the activations of a module while the context is open; the hooks leave with it.

    K = sum over activations of C C^T + (1 - C)(1 - C)^T with binary codes C (B, units): symmetric, diagonal = units.
    """

    def __init__(self, module: nn.Module):
        self.module = module

    def __enter__(self) -> AgreementKernel:
        self._kernel, self._hooks = None, []
        for part in self.module.modules():
            if isinstance(part, _ACTIVATIONS):
                self._hooks.append(part.register_forward_hook(self._add))
        return self

    def __exit__(self, *_) -> None:
        for hook in self._hooks:
            hook.remove()

    def take(self) -> Tensor:
        """K (B, B) in float64 over everything that ran since the last call."""
        kernel, self._kernel = self._kernel, None
        return kernel if kernel is not None else torch.zeros(())

    def _add(self, module: nn.Module, inputs: tuple, output: Tensor) -> None:
        kernel = agreement(output)
        self._kernel = kernel if self._kernel is None else self._kernel + kernel


def agreement(output: Tensor) -> Tensor:
    """K (B, B), float64, of one activation's output (B, ...): on how many units each pair of inputs agrees in sign."""
    codes = (output.detach().flatten(1) > 0).float()
    on = codes.sum(1, dtype=torch.float64)
    both = (codes @ codes.T).double()  # exact: a count below 2^24 per product
    return 2 * both - on[:, None] - on[None, :] + codes.shape[1]


def log_det(kernel: Tensor, jitter: float = 1e-6) -> float:
    """log |det(K + jitter * mean diagonal * I)|; the jitter keeps it finite when two inputs share every code."""
    size = kernel.shape[0]
    ridge = jitter * kernel.diagonal().mean() * torch.eye(size, dtype=kernel.dtype, device=kernel.device)
    return float(torch.linalg.slogdet(kernel + ridge).logabsdet)


@torch.no_grad()
def naswot(model: nn.Module, images: Tensor, jitter: float = 1e-6) -> float:
    """log |det K| over all activations of `model` on images (B, C, H, W). Higher is better. Mellor et al. 2021, eq. 2.

    Run in eval mode; the model's mode is put back.
    """
    with evaluation_mode(model), AgreementKernel(model) as kernel:
        model(images)
        return log_det(kernel.take(), jitter)
