"""Checks that proxies with options of their own share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nasedu.errors import NaseduError, ParameterError, ProxyError


def whole(option: str, value: object, least: int = 1) -> int:
    """`value` if it is a whole number from `least`; `option` is its name for the message. Raises `ParameterError`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ParameterError(f"{option} must be a whole number from {least}, got {value!r}")
    return value


def run(model: nn.Module, images: Tensor) -> object:
    """What the network returns for images that it may not have been made for. Raises `ProxyError` where it cannot."""
    try:
        return model(images)
    except NaseduError:
        raise
    except (RuntimeError, ValueError) as error:
        shape = " x ".join(str(side) for side in images.shape)
        reason = str(error).strip().split("\n")[0]
        raise ProxyError(f"this {type(model).__name__} cannot run in training mode on {shape}: {reason}") from None


def logits_of(outputs: object) -> Tensor:
    """Outputs (B, ...) as (B, outputs). Raises `ProxyError` for a network that returns anything but one tensor."""
    if not isinstance(outputs, torch.Tensor) or outputs.ndim < 2:
        raise ProxyError(f"this proxy needs a network that returns one tensor (B, outputs), got {_kind(outputs)}")
    return outputs.flatten(1)


def _kind(outputs: object) -> str:
    return f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
