"""Baselines that every proxy has to beat: the size of a network, the norm of its weights, and chance."""

from __future__ import annotations

import torch

from nasedu.errors import ParameterError, ProxyError
from nasedu.hardware.count import count
from nasedu.proxies.probe import Probe
from nasedu.proxies.registry import register
from nasedu.storage import identity


@register("params", needs="nothing", passes="none")
def params(probe: Probe) -> float:
    """The number of trainable parameters. Higher is better. Cannot see: how they are used; many networks tie."""
    return sum(p.numel() for p in probe.original.parameters() if p.requires_grad)


@register("macs", needs="shape", passes="1 forward without arithmetic")
def macs(probe: Probe) -> float:
    """Multiply-accumulates of convolution and linear layers for one image. Higher is better.

    Cannot see: what they are spent on; many networks tie.
    """
    try:
        return count(probe.original, tuple(probe.images.shape[1:])).macs
    except ParameterError as error:  # it is the network's fault, not the caller's
        raise ProxyError(str(error)) from None


@register("l2_norm", needs="nothing", passes="none")
def l2_norm(probe: Probe) -> float:
    """Sum over layers of ||w_l||_2 (NASLib's baseline). Higher is better. Cannot see: data, activations, wiring."""
    return float(sum(w.detach().double().norm() for w in probe.weights.values()))


@register("random", needs="nothing", passes="none")
def random(probe: Probe) -> float:
    """A draw from N(0, 1): chance. The same network with the same weights and seed draws the same number.

    `generator` makes it another.
    """
    generator = probe.given
    if generator is None:
        network = identity(repr(probe.original), [p.detach() for p in probe.original.parameters()], probe.own_seed)
        generator = torch.Generator("cpu").manual_seed(int(network[:15], 16))
    return float(torch.randn((), generator=generator, dtype=torch.float32, device="cpu"))
