"""Block-wise zero-cost maps: a score for every option of every searchable block, at its place in the supernet.

Each block sees what the *soft* supernet feeds it, so the score knows the block's position. A map is a `LookupTable`
without a fixed part; higher is better.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from nasedu.errors import ProxyError, check_name
from nasedu.modules import evaluation_mode
from nasedu.proxies.activations import WatchActivations
from nasedu.proxies.gradients import grasp_saliency, snip_saliency
from nasedu.proxies.naswot import agreement, log_dets, signs
from nasedu.proxies.synflow import synflow_saliency
from nasedu.proxies.zico import zico_saliency
from nasedu.randomness import stream
from nasedu.spaces.base import Network, Path, SearchSpace
from nasedu.supernet.mixed import Entry, Subset
from nasedu.tables.metrics import METRICS
from nasedu.tables.table import LookupTable

PROXIES = ("naswot", "snip", "synflow", "grasp", "zico", "random", "none")


def empty_map(space: SearchSpace, proxy: str) -> LookupTable:
    """A map of zeros, the place of one that a search makes. Raises `UnknownName`."""
    entries = [torch.zeros([space.choices[d] for d in group], dtype=torch.float64) for group in space.groups]
    return LookupTable(space, check_name("proxy", proxy, PROXIES), METRICS[proxy].unit, 0.0, entries)


def zero_cost_map(
    space: SearchSpace,
    supernet: Network,
    path: Path,
    images: Tensor,
    proxy: str = "naswot",
    loss: Callable[[nn.Module], Tensor] | None = None,
    seed: int = 0,
) -> LookupTable:
    """Score every option of every slot with the supernet's weights as they are.

        space: any; where slots are decided together, as the cells of nasbench201 are, their scores add up.
        supernet: left as it is, with mode and gradients.
        path: the weights that mix the inputs of the blocks.
        images: one fixed batch (B, C, H, W).
        proxy: naswot; snip, synflow, grasp or zico, which need weights in every option; or, to compare with, random
            scores or none (zeros).
        loss: `loss(model)` is a scalar of the supernet on that batch, for snip and grasp; for zico the losses of two or
            more parts of it, (parts,).
        seed: of random scores, which are the same whenever the map is made.

    Raises `UnknownName`, `ProxyError` where a loss is needed and missing, an option has no weights or synflow
    saturates, and `TableError` when a score is not finite.
    """
    table = empty_map(space, proxy)
    if proxy in OF_LOSS and loss is None:
        raise ProxyError(f"{proxy} needs a loss of the supernet on the batch")
    if proxy == "naswot":
        scores = _naswot(space, supernet, path, images)
    elif proxy in ("random", "none"):
        drawn = stream(seed, "map")
        shapes = [[len(d.choices) for d in slot.decisions] for slot in space.slots]
        scores = [torch.randn(shape, generator=drawn) * (proxy == "random") for shape in shapes]
    elif proxy == "synflow":
        saliency = synflow_saliency(supernet, lambda net, x: net(x, list(map(_doubled, path))), space.input_shape)
        scores = _kept(space, supernet, saliency, proxy)
    else:
        scores = _kept(space, supernet, OF_LOSS[proxy](supernet, loss), proxy)
    if proxy == "grasp":
        scores = _squeezed(scores)
    for slot, score in zip(space.slots, scores, strict=True):
        table.entries[space.groups.index(space.deciding[slot.name])] += score
    provenance = {"how": f"{proxy}, block by block, batch of {len(images)}"}
    return replace(table, provenance=provenance)  # which looks whether all is finite


@torch.no_grad()
def _naswot(space: SearchSpace, supernet: Network, path: Path, images: Tensor) -> list[Tensor]:
    """One soft pass through the supernet; every slot is scored on its input just before it runs.

    log |det K| sums as many logarithms as there are images, so it is divided by their number: the published weight of
    this term, chosen for a batch of four, then holds for any.
    """
    kernels: list[Tensor] = []

    def score(choices: list[int], block: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        kernels.append(option_kernels(block, inputs[0], choices))

    with ExitStack() as hooks:
        for slot in space.slots:
            choices = [len(d.choices) for d in slot.decisions]
            hooks.enter_context(supernet.parts[slot.name].register_forward_pre_hook(partial(score, choices)))
        hooks.enter_context(evaluation_mode(supernet))
        supernet(images, path)
    found = log_dets(torch.cat([k.flatten(0, -3) for k in kernels])).cpu() / len(images)  # one look at the device
    parts = found.split([k.shape[:-2].numel() for k in kernels])
    return [part.view(k.shape[:-2]) for part, k in zip(parts, kernels, strict=True)]


def naswot_options(block: nn.Module, x: Tensor, choices: Sequence[int]) -> Tensor:
    """log |det K| of every option of a slot's block on its input x (B, C, H, W): a tensor of the shape `choices`.

    An elastic CSP block has an entry for every (width, depth). In the faithful semantics every bottleneck runs whatever
    the depth, and K counts them all; in the sliced one it counts those up to the chosen depth. (The published proxy,
    WZDNAS phase 2, is the faithful one.) Elsewhere there is an entry for every option. Where a block does not end in an
    activation, K counts the signs of what it hands on as well, for a skip has no activation of its own; that is our
    choice, as nothing was published for such blocks.

    block: of the slot.
    x: what it reads.
    choices: how many each of its decisions has.
    """
    return log_dets(option_kernels(block, x, choices)).cpu()


@torch.no_grad()
def option_kernels(block: nn.Module, x: Tensor, choices: Sequence[int]) -> Tensor:
    """K of every option, (*choices, B, B) in float64, on the device of x.

    block: of the slot.
    x: what it reads, (B, C, H, W).
    choices: how many each of its decisions has.
    """
    if hasattr(block, "unroll"):
        faithful = block.semantics == "faithful"
        return _all_widths(block, x) if faithful else _width_by_width(block, x)
    kernels = []
    for option in itertools.product(*map(range, choices)):
        with AgreementKernel() as kernel:
            handed_on = block.forward(x, *option)  # past the hook that may have called this
            inside = kernel.take()
            kernels.append(inside if getattr(block, "ends_active", False) else inside + agreement(handed_on))
    return torch.stack(kernels).view(*choices, len(x), len(x))


class AgreementKernel(WatchActivations):
    """Sums K over all activations that run while the context is open: symmetric, diagonal = units.

    groups: batches that lie one behind the other in every activation, each of which has its own K; None: one batch.
    """

    def __init__(self, groups: int | None = None):
        super().__init__(self._add)
        self._groups, self._units = groups, 0
        self._products: Tensor | None = None

    def take(self) -> Tensor:
        """K (B, B), or of groups (groups, B, B), in float64, over everything that ran since the last call."""
        products, units = self._products, self._units
        self._products, self._units = None, 0
        if products is None:
            return torch.zeros((), dtype=torch.float64, device="cpu")
        kernels = (products + units) / 2
        return kernels if self._groups else kernels[0]

    def _add(self, x: Tensor) -> None:
        codes = signs(x.detach()).view(self._groups or 1, -1, x[0].numel())
        products = codes @ codes.mT  # exact: a count below 2^24 per product
        self._products = products.double() if self._products is None else self._products.add_(products)
        self._units += codes.shape[-1]


def _width_by_width(block: nn.Module, x: Tensor) -> Tensor:
    """(widths, depths, B, B). One pass per width, with its slices, serves all its depths, which share their prefix."""
    rows = []
    with AgreementKernel() as kernel:
        for width in range(len(block.hiddens)):
            kept, inside, found = block.width(width), 0, []
            for shallow, z in block.unroll(x, kept):
                inside = inside + kernel.take()
                block.leave(shallow, z, kept)
                found.append(inside + kernel.take())
            rows.append(torch.stack(found))
    return torch.stack(rows)


def _all_widths(block: nn.Module, x: Tensor) -> Tensor:
    """(widths, depths, B, B) of the faithful block, in which every bottleneck runs whatever the depth.

    A width is a mask there, so that one pass serves all of them, as groups of images with masks of their own.
    """
    widths = torch.stack([block.width(width) for width in range(len(block.hiddens))]).to(x)
    kept, exits = widths.repeat_interleave(len(x), 0), []
    with AgreementKernel(len(widths)) as kernel:
        inside = 0
        for shallow, z in block.unroll(x.repeat(len(widths), 1, 1, 1), kept):
            inside = inside + kernel.take()
            block.leave(shallow, z, kept)
            exits.append(kernel.take())
    return (torch.stack(exits) + inside).transpose(0, 1)


def _doubled(entry: Entry) -> Entry:
    """Weights in the precision in which synflow runs."""
    return entry._replace(weights=entry.weights.double()) if isinstance(entry, Subset) else entry.double()


def _squeezed(scores: list[Tensor]) -> list[Tensor]:
    """GraSP's scores, which have a sign and any size, as their logarithm with that sign, in units of the median.

    So the scale of the loss or of the weights does not matter beside the other terms of a search; our choice.
    """
    unit = torch.cat([score.flatten() for score in scores]).abs().median().clamp_min(1e-300)
    return [torch.asinh(score / unit) for score in scores]


OF_LOSS = {"snip": snip_saliency, "grasp": grasp_saliency, "zico": zico_saliency}


def _log_sum(kept: list[Tensor]) -> Tensor:
    return torch.stack([value.sum() for value in kept]).sum().clamp_min(1e-300).log()


# an option's score from the saliencies of its layers, each of the weights that it keeps
ADDED = {
    "snip": _log_sum,
    "synflow": _log_sum,
    "grasp": lambda kept: torch.stack([value.sum() for value in kept]).sum(),  # has a sign
    "zico": lambda kept: torch.stack([value.sum() for value in kept if value.any()] or [kept[0].sum() + 1]).log().sum(),
}


def _kept(space: SearchSpace, supernet: Network, saliency: dict[str, Tensor], proxy: str) -> list[Tensor]:
    """The score of every option, of the saliency of the convolution weights that it keeps."""
    scores = []
    for slot in space.slots:
        block = copy.deepcopy(supernet.parts[slot.name]).double()
        for name, parameter in block.named_parameters():
            parameter.data = saliency[f"parts.{slot.name}.{name}"].double()
        score = torch.empty([len(d.choices) for d in slot.decisions], dtype=torch.float64)
        for option in itertools.product(*map(range, score.shape)):
            kept = [value for value in block.extract(*option).values() if value.ndim == 4]
            if not kept:
                chosen = ", ".join(d.choices[i] for d, i in zip(slot.decisions, option, strict=True))
                raise ProxyError(f"{proxy} scores weights, and {chosen} of {slot.name} has none: take naswot")
            score[option] = ADDED[proxy](kept)
        if proxy == "synflow" and (score < -600).all():
            raise ProxyError(f"no synflow reaches {slot.name}: activations that saturate, as ReLU6 does, stop it")
        scores.append(score)
    return scores
