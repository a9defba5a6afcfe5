"""Block-wise zero-cost maps: a score for every option of every searchable block, at its place in the supernet.

Each block sees what the *soft* supernet feeds it, so the score knows the block's position. A map is a `LookupTable`
without a fixed part; higher is better.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nasedu.errors import check_name
from nasedu.modules import evaluation_mode
from nasedu.proxies.gradients import snip_saliency
from nasedu.proxies.naswot import AgreementKernel, log_det
from nasedu.proxies.synflow import synflow_saliency
from nasedu.spaces.base import Network, Path, SearchSpace
from nasedu.tables.table import SCORES, LookupTable

PROXIES = ("naswot", "snip", "synflow")


def zero_cost_map(
    space: SearchSpace,
    supernet: Network,
    path: Path,
    images: Tensor,
    proxy: str = "naswot",
    loss: Callable[[nn.Module], Tensor] | None = None,
) -> LookupTable:
    """Score every option of every slot with the supernet's weights as they are.

    `path` holds the weights that mix the inputs of the blocks; `images` (B, C, H, W) is one fixed batch. snip needs
    `loss(model)`, a scalar of the supernet on that batch. Supernet, mode and gradients are left as they were.
    Raises `UnknownName`, and `TableError` when a score is not finite.
    """
    check_name("proxy", proxy, PROXIES)
    if proxy == "naswot":
        entries = _naswot(space, supernet, path, images)
    elif proxy == "snip":
        entries = _kept(space, supernet, snip_saliency(supernet, loss))
    else:
        saliency = synflow_saliency(supernet, lambda net, x: net(x, [p.double() for p in path]), space.input_shape)
        entries = _kept(space, supernet, saliency)
    provenance = {"how": f"{proxy}, block by block, batch of {len(images)}"}
    return LookupTable(space, proxy, SCORES[proxy], 0.0, entries, provenance)


@torch.no_grad()
def _naswot(space: SearchSpace, supernet: Network, path: Path, images: Tensor) -> list[Tensor]:
    """One soft pass through the supernet; every slot is scored on its input just before it runs.

    log |det K| sums as many logarithms as there are images, so it is divided by their number: the published weight of
    this term, chosen for a batch of four, then holds for any.
    """
    entries, hooks = [], []
    for slot in space.slots:
        hook = supernet.parts[slot.name].register_forward_pre_hook(
            lambda block, inputs: entries.append(naswot_options(block, inputs[0]) / len(images))
        )
        hooks.append(hook)
    try:
        with evaluation_mode(supernet):
            supernet(images, path)
    finally:
        for hook in hooks:
            hook.remove()
    return entries


@torch.no_grad()
def naswot_options(block: nn.Module, x: Tensor) -> Tensor:
    """log |det K| of every (width, depth) option of an elastic block on its input x (B, C, H, W).

    One pass per width serves all its depths, which share their prefix. In the faithful semantics every bottleneck
    runs whatever the depth, and K counts them all; in the sliced one it counts those up to the chosen depth. (The
    published proxy, WZDNAS phase 2, is the faithful one.)
    """
    rows = []
    with AgreementKernel() as kernel:
        for width in range(len(block.hiddens)):
            kept, inside, prefixes, exits = block.width(width), 0, [], []
            if isinstance(kept, Tensor):
                kept = kept.to(x)
            for shallow, z in block.unroll(x, kept):
                inside = inside + kernel.take()
                prefixes.append(inside)
                block.leave(shallow, z, kept)
                exits.append(kernel.take())
            if block.semantics == "faithful":
                prefixes = [inside] * len(prefixes)
            rows.append([log_det(a + b) for a, b in zip(prefixes, exits, strict=True)])
    return torch.tensor(rows, dtype=torch.float64)


def _kept(space: SearchSpace, supernet: Network, saliency: dict[str, Tensor]) -> list[Tensor]:
    """log of the summed saliency of the convolution weights that each option keeps."""
    entries = []
    for slot in space.slots:
        block = supernet.parts[slot.name]
        own = {name: saliency[f"parts.{slot.name}.{name}"] for name, p in block.named_parameters() if p.ndim == 4}
        rows = []
        for width in range(len(block.hiddens)):
            kept = [block.slices(width, depth) for depth in range(len(block.depths))]
            rows.append([sum(own[n][index].sum().double() for n, index in k.items() if n in own) for k in kept])
        entries.append(torch.tensor(rows, dtype=torch.float64).clamp_min(1e-300).log())
    return entries
