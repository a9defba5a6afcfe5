"""MeCo: how far from redundant the feature maps of each layer are, on a single random image (Jiang et al. 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nasedu.errors import ProxyError, check_name, check_whole
from nasedu.proxies.checks import run
from nasedu.proxies.probe import Probe
from nasedu.proxies.registry import register

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@register("meco", needs="shape", passes="1 forward of one image of 64 x 64 pixels")
def meco(probe: Probe, *, modules: str = "convolutions", size: int = 64, image: str = "normal") -> float:
    """Sum over layers of l_min(P_l), P_l the correlations of the layer's feature maps (MeCo, Jiang et al. 2023).

    Each channel's map is one row of observations. Higher is better. In training mode.

    probe: the network and the batch.
    modules: "convolutions" counts every convolution's output once; "leaves" every module without parts; "all" is the
        public code, which hooks containers as well and so counts what they hand on two, three or more times.
    size: height and width of the image, in pixels.
    image: "normal", one of N(0, 1) with the batch's channels, or the batch's "first", in a pass of the whole batch, as
        a second version of that code does.

    A layer whose maps are constant or not finite has l_min = 0, as there; a network in which all are is an error.
    Cannot see: data, labels, linear layers, and any layer with at least as many channels as positions, for which
    l_min = 0: the deep and wide ones.
    """
    check_name("modules of meco", modules, ("convolutions", "leaves", "all"))
    check_name("image of meco", image, ("normal", "first"))
    side = check_whole("size of meco", size)
    model, found = probe.copy(), []
    images = probe.images if image == "first" else probe.normal(1, probe.images.shape[1], side, side)
    hooks = [m.register_forward_hook(lambda _, __, out: found.append(_first(out))) for m in _chosen(model, modules)]
    if not hooks:
        raise ProxyError(f"this {type(model).__name__} has no convolution among its modules, so no feature maps")
    with torch.no_grad():
        run(model, images, "" if image == "first" else "`size` can be that of the network's own images")
    values = [least_eigenvalue(maps) for maps in found if maps is not None]
    if all(value is None for value in values):
        raise ProxyError(f"no layer of this {type(model).__name__} has feature maps that vary and are finite")
    return sum(value or 0.0 for value in values)


def least_eigenvalue(maps: Tensor) -> float | None:
    """l_min of the correlations of maps (C, ...), in float64; 0 where a map is constant, None where all are.

    A map that is not finite counts as constant. Centred rows with P positions span P - 1 dimensions at most, so that
    more than that many channels are dependent and l_min = 0.
    """
    rows = maps.reshape(len(maps), -1).double()
    varies = torch.isfinite(rows).all(1) & (rows.amax(1) > rows.amin(1))
    if not varies.any():
        return None
    if not varies.all() or rows.shape[0] >= rows.shape[1]:
        return 0.0
    correlations = torch.corrcoef(rows).reshape(len(rows), len(rows))
    return max(0.0, float(torch.linalg.eigvalsh(correlations)[0]))


def _chosen(model: nn.Module, modules: str) -> list[nn.Module]:
    if modules == "convolutions":
        return [m for m in model.modules() if isinstance(m, CONVOLUTIONS)]
    return [m for m in model.modules() if modules == "all" or not any(m.children())]


def _first(output: object) -> Tensor | None:
    """The first image's maps (C, ...), of what a module returned; None where that is no tensor of images."""
    return output[0].detach().clone() if isinstance(output, Tensor) and output.ndim >= 2 else None
