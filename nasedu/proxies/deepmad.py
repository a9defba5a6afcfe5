"""DeepMAD's entropy: how much a network could express, from its shape alone (Shen et al. 2023).

A layer's width is w = c_in k^2 / groups. Blocks that leave the same resolution make a stage. No arithmetic is done.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import nn

from nasedu.errors import ParameterError, ProxyError, check_name, check_whole
from nasedu.modules import copy_of
from nasedu.proxies.probe import Probe
from nasedu.proxies.registry import register
from nasedu.proxies.units import run_units
from nasedu.proxies.zen import without_residual

FORMS = ("paper", "incorporated")
EFFECTIVENESS_LIMIT = 0.5  # of rho, in Incorporated-NAS and in most of DeepMAD's own searches
LAST_STAGE, PENALTY = 8.0, 10.0  # DeepMAD's weight of the last stage (the others weigh 1), and its beta
SHORTCUTS = ("*downsample*", "*shortcut*", "*proj*")


@dataclass(frozen=True)
class Stage:
    """Blocks of one resolution: its channels and pixels at the end, and the widths of its convolutions, in order."""

    channels: int
    pixels: int
    widths: tuple[float, ...]


@register("deepmad_entropy", needs="shape", passes="1 forward without arithmetic")
def deepmad_entropy(
    probe: Probe,
    *,
    form: str = "paper",
    depths: Sequence[int] | None = None,
    skip: int | None = None,
    limit: float | None = None,
    layers: str | Sequence[str] | None = None,
) -> float:
    """Sum over stages s of a_s ln(C_s r_s^2) Sum_{layers up to the end of s} ln w  -  10 exp(Var of the depths).

    Shen et al. 2023 (DeepMAD, CVPR, section 4): C_s and r_s are a stage's last channels and resolution, a_s is 1, and 8
    for the last stage. Higher is better. Shortcuts are no layers.

    probe: the network and the batch.
    form: "paper", or "incorporated", the code of Incorporated-NAS (Nguyen and Han 2024): all a_s = 1, 1/2 ln w, and the
        standard deviation in place of the variance.
    depths: the number of layers per stage; None takes the network's attribute `depths` (a network of the plainnet space
        has it: the residual units of each super-block), or else subtracts nothing.
    skip: how many first depths the incorporated form leaves out; None takes the attribute `depths_skipped`, or else 1.
    limit: -inf for a network whose `effectiveness` rho is above (the papers maximise the entropy below 0.5).
    layers: names of the blocks, see `units.run_units`.

    Cannot see: data, weights, activations, where shortcuts are; it rewards resolution.
    """
    check_name("form of deepmad_entropy", form, FORMS)
    found = stages(probe.original, tuple(probe.images.shape[1:]), layers)
    if limit is not None and rho(found) > limit:
        return -math.inf
    own = form == "paper"
    total, expressed = 0.0, 0.0
    for i, stage in enumerate(found, start=1):
        expressed += sum(math.log(w) for w in stage.widths) * (1 if own else 0.5)
        weight = LAST_STAGE if own and i == len(found) else 1.0
        total += weight * math.log(stage.channels * stage.pixels) * expressed
    depths = depths if depths is not None else getattr(probe.original, "depths", None)
    skip = skip if skip is not None else getattr(probe.original, "depths_skipped", 1)
    return total - uneven(depths, form, skip)


def uneven(depths: Sequence[int] | None, form: str = "paper", skip: int = 1) -> float:
    """What is subtracted for stages of different depth; 0 where the depths are not known. Raises `ParameterError`.

    depths: the number of layers per stage, or None.
    form: "paper" or "incorporated".
    skip: how many first depths the incorporated form leaves out, unless no other is there.
    """
    if depths is None:
        return 0.0
    depths = list(depths)
    if not depths or not all(isinstance(d, int) and d > 0 for d in depths):
        raise ParameterError(f"depths of deepmad_entropy must be whole numbers from 1, one per stage, got {depths}")
    if form == "incorporated":
        depths = depths[check_whole("skip of deepmad_entropy", skip, 0) :] or depths
    spread = statistics.pvariance(depths) if form == "paper" else statistics.pstdev(depths)
    return PENALTY * math.exp(min(spread, 700.0))  # exp(710) overflows


def effectiveness(
    model: nn.Module, input_shape: tuple[int, int, int], layers: str | Sequence[str] | None = None
) -> float:
    """rho = max over stages of depth / geometric mean of widths, both from the network's start to the stage's end.

    Shen et al. 2023, section 3. Small is shallow and wide; above about `EFFECTIVENESS_LIMIT` a network is too deep for
    its width to train well. Raises `ProxyError`.

    model: the network.
    input_shape: (C, H, W).
    layers: names of the blocks, see `units.run_units`.
    """
    return rho(stages(model, input_shape, layers))


def rho(found: Sequence[Stage]) -> float:
    """`effectiveness` of stages."""
    widths, ratios = [], []
    for stage in found:
        widths += stage.widths
        ratios.append(len(widths) / statistics.geometric_mean(widths))
    return max(ratios)


def stages(
    model: nn.Module, input_shape: tuple[int, int, int], layers: str | Sequence[str] | None = None
) -> list[Stage]:
    """A network's stages on images (C, H, W), found without computing anything; shortcuts are left out.

    model: the network.
    input_shape: (C, H, W).
    layers: names of the blocks, see `units.run_units`.

    A stage ends before the first block that changes the resolution. Raises `ProxyError` where no convolution runs.
    """
    meta = without_residual(copy_of(model).to("meta").eval())
    convs: list[tuple[float, int]] = []  # width and pixels of every convolution, in the order they run
    for name, part in meta.named_modules():
        if isinstance(part, nn.Conv2d) and not any(fnmatchcase(name, pattern) for pattern in SHORTCUTS):
            part.register_forward_hook(lambda conv, _, y: convs.append((width(conv), y.shape[2:].numel())))
    dtype = next((p.dtype for p in meta.parameters()), torch.float32)
    with torch.no_grad():
        images = torch.empty(2, *input_shape, device="meta", dtype=dtype)
        units = run_units(meta, images, layers, mark=convs.__len__)
    found: list[Stage] = []
    before, done = None, 0
    for unit in units:
        channels, size = unit.map.shape[1], unit.map.shape[2:]
        # a convolution of one pixel in a block that leaves a map is squeeze-and-excitation's
        widths = tuple(w for w, pixels in convs[done : unit.mark] if pixels > 1 or size.numel() == 1)
        if size == before:
            widths = found.pop().widths + widths
        found.append(Stage(channels, size.numel(), widths))
        before, done = size, unit.mark
    if not found[0].widths:
        raise ProxyError(f"no convolution ran in the first stage of this {type(model).__name__}")
    return found


def width(conv: nn.Conv2d) -> float:
    """c_in k^2 / groups: how many numbers each output reads."""
    return float(conv.weight[0].numel())
