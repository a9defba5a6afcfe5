"""Checks that proxies with options of their own share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nasedu.errors import NaseduError, ProxyError
from nasedu.modules import reason


def run(model: nn.Module, images: Tensor, advice: str = "") -> object:
    """What the network returns for images that it may not have been made for.

    model: the network.
    images: (B, C, H, W).
    advice: the end of the sentence where it cannot run.

    Raises `ProxyError`.
    """
    try:
        return model(images)
    except NaseduError:
        raise
    except Exception as error:  # a network may raise anything: ViT's is an AssertionError
        shape = " x ".join(str(side) for side in images.shape)
        way_out = f"; {advice}" if advice else ""
        raise ProxyError(
            f"this {type(model).__name__} cannot run in training mode on {shape}: {reason(error)}{way_out}"
        ) from None


def logits_of(outputs: object) -> Tensor:
    """Outputs (B, ...) as (B, outputs). Raises `ProxyError` for a network that returns anything but one tensor."""
    if not isinstance(outputs, torch.Tensor) or outputs.ndim < 2:
        raise ProxyError(f"this proxy needs a network that returns one tensor (B, outputs), got {kind(outputs)}")
    return outputs.flatten(1)


def kind(outputs: object) -> str:
    """In words what a network returned, and, where it was several outputs, what to do about it."""
    if isinstance(outputs, Tensor):
        return f"shape {tuple(outputs.shape)}"
    if isinstance(outputs, tuple | list | dict):
        return (
            f"{type(outputs).__name__}, several outputs: wrap it in a module that returns the logits alone "
            "(some networks have an option for it, such as aux_logits=False)"
        )
    return type(outputs).__name__
