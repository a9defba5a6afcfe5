"""The optimizers of a training, by name: PyTorch's own, over groups of parameters that decay or not."""

from __future__ import annotations

from typing import Protocol

import torch
from torch.optim import Optimizer

from nasedu.registry import Registry


class Moving(Protocol):
    """What an optimizer is told of a training's settings."""

    lr: float
    momentum: float
    nesterov: bool


def sgd(groups: list[dict], config: Moving) -> Optimizer:
    """Stochastic gradient descent with momentum, Nesterov's (Sutskever et al. 2013) or the heavy ball's."""
    nesterov = config.nesterov and config.momentum > 0
    # one kernel on a GPU; on the CPU it would only round otherwise
    fused = True if any(p.is_cuda for group in groups for p in group["params"]) else None
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov, fused=fused)


def adam(groups: list[dict], config: Moving) -> Optimizer:
    """Adam (Kingma and Ba 2015) with the paper's constants; the decay joins the gradient."""
    return torch.optim.Adam(groups, lr=config.lr)


def adamw(groups: list[dict], config: Moving) -> Optimizer:
    """Adam whose decay stands beside the gradient (Loshchilov and Hutter 2019)."""
    # beta2 = .99: a short training must forget its first, far too large gradients
    return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.99), fused=True)


def rmsprop(groups: list[dict], config: Moving) -> Optimizer:
    """RMSprop (Tieleman and Hinton 2012) with momentum; squares averaged by .9, as in Zen-NAS's public training."""
    return torch.optim.RMSprop(groups, lr=config.lr, alpha=0.9, momentum=config.momentum)


def adadelta(groups: list[dict], config: Moving) -> Optimizer:
    """Adadelta (Zeiler 2012); rho .9 and eps 1e-9 are those of Zen-NAS's public training."""
    return torch.optim.Adadelta(groups, lr=config.lr, rho=0.9, eps=1e-9)


OPTIMIZERS: Registry = Registry(
    "optimizer", {"sgd": sgd, "adam": adam, "adamw": adamw, "rmsprop": rmsprop, "adadelta": adadelta}
)
