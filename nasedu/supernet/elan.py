"""ELAN blocks with elastic width and any subset of the chain's outputs: one maximal block whose options share weights.

`forward(x, width, *outs)` takes for the width and for every output of the chain a choice index, a weight for each
choice, or a `Subset`. An output has the choices 0, left out, and 1, concatenated; it is multiplied by the weight of 1,
its gate. So the sigmoid of the published code is the softmax over the two logits, and logistic noise is Gumbel's.

The semantics are those of `supernet.elastic`. Nothing here is normalised after the masks, so no channel leaks: both
give a one-hot path the stand-alone block's output. They differ where entries are soft: ``faithful`` masks before the
activation and runs the whole chain.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nasedu.blocks.elan import ELAN, ELAN2
from nasedu.supernet.elastic import Masked, soft
from nasedu.supernet.mixed import Entry, Subset


class _Elastic(Masked):
    """What both blocks share. Mixed in before the stand-alone block, whose modules it runs at their largest."""

    def __init__(self, c_in, c_out, hiddens: Sequence[int], outs: int, act="silu", semantics="sliced"):
        super().__init__(c_in, c_out, max(hiddens), range(outs), act)
        self.keep(hiddens, semantics)

    def forward(self, x: Tensor, width: Entry, *outs: Entry) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H, W)."""
        width = soft(width, len(self.hiddens))
        gates = [entry if isinstance(entry, int) else soft(entry, 2)[1] for entry in outs]
        kept, wide = self.width(width), self.width(width, self.widen)
        z = self.conv(self.enter, x, wide)
        maps = [self.conv(self.cross, x, wide), z]
        for conv, gate in zip(self.chain[: self._length(outs)], gates, strict=False):
            z = self.conv(conv, z, kept)
            maps.append(z if isinstance(gate, int) and gate == 1 else z * gate)
        if isinstance(kept, Tensor):
            left = (len(self.chain) + 2 - len(maps)) * max(self.hiddens)  # what did not run
            return self.fuse(F.pad(torch.cat(maps, 1), [0, 0, 0, 0, 0, left]))
        chosen = [i for i, gate in enumerate(gates) if not isinstance(gate, int) or gate]
        joined = torch.cat([*maps[:2], *(maps[2 + i] for i in chosen)], 1)
        conv = self.fuse.conv
        return self.fuse.act(self.fuse.bn(F.conv2d(joined, conv.weight[:, self._read(kept, chosen)], conv.bias)))

    def _length(self, outs: Sequence[Entry]) -> int:
        """How much of the chain runs: up to the last output with weight, where the rest may be skipped."""
        if self.semantics == "faithful":
            return len(outs)
        return max((i + 1 for i, entry in enumerate(outs) if _weighs(entry)), default=0)

    def _read(self, hidden: int, chosen: Sequence[int]) -> Tensor:
        """Indices of the channels that the last convolution reads, among all."""
        most, start, found = max(self.hiddens), 0, []
        for i in range(-2, len(self.chain)):
            wide = self.widen if i < 0 else 1
            if i < 0 or i in chosen:
                found.append(start + torch.arange(wide * hidden))
            start += wide * most
        return torch.cat(found).to(self.fuse.conv.weight.device)

    def slices(self, width: int, *outs: int) -> dict[str, tuple]:
        """For every tensor that an option keeps: its name and the index of the part it keeps.

        width: index of the width.
        outs: for every output of the chain, 1 where it is read.
        """
        hidden, chosen = self.hiddens[width], [i for i, out in enumerate(outs) if out]
        index = {}
        for name, tensor in self.state_dict().items():
            part, _, rest = name.partition(".")
            place = int(rest.partition(".")[0]) if part == "chain" else 0
            if part == "chain" and place > max(chosen, default=-1):
                continue
            if part == "fuse":
                index[name] = (slice(None), self._read(hidden, chosen)) if tensor.ndim == 4 else ()
                continue
            out = hidden if part == "chain" else self.widen * hidden
            read = hidden * (1 if place else self.widen) if part == "chain" else None
            index[name] = (slice(out), slice(read)) if tensor.ndim == 4 else (slice(out),) * tensor.ndim
        return index


def _weighs(entry: Entry) -> bool:
    """Whether an output is read; one whose weight may have a gradient is."""
    if isinstance(entry, Subset):
        return 1 in entry.indices
    if isinstance(entry, int):
        return entry != 0
    return entry.requires_grad or entry.is_meta or bool(entry[1] != 0)


class ElasticELAN(_Elastic, ELAN):
    """`blocks.elan.ELAN` over several hidden widths and all subsets of the chain's outputs (WZDNAS, YOLOv7)."""


class ElasticELAN2(_Elastic, ELAN2):
    """`blocks.elan.ELAN2`, likewise."""
