"""Cross-stage partial blocks with elastic width and depth: one maximal block whose options share its weights.

`forward(x, width, depth)` takes for each axis a choice index, a weight for each choice (n_choices,), or a `Subset`.

Two semantics, chosen by name:

- ``faithful``: the published supernet of WZDNAS. A channel mask m_c = sum_i g_i 1[c < C_i] multiplies every
  normalised map *before* its activation; every bottleneck runs and z = sum_j d_j z_(n_j). The BN after the
  concatenation shifts masked channels away from zero, so they leak into the output.
- ``sliced``: masks act *after* the activation, so that a masked channel carries nothing, and only the bottlenecks up to
  the deepest one with weight run. A one-hot path equals the stand-alone block with the same weights; an index runs the
  sliced weights only and costs what the stand-alone block costs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasedu.blocks import CSP, CSP2, ConvBNAct
from nasedu.blocks.common import convolve
from nasedu.blocks.factorised import Factorised
from nasedu.errors import check_name
from nasedu.supernet.mixed import Entry, Subset, dense

SEMANTICS = ("faithful", "sliced")
Width = int | Tensor  # channels kept, or a mask over all channels (C,), or one for each image (B, C)


class Masked:
    """Convolutions that run at a hidden width which is an index or a mixture, in one of the two semantics."""

    def keep(self, hiddens: Sequence[int], semantics: str) -> None:
        """Say what there is to choose. Raises `UnknownName`.

        hiddens: the widths, in channels.
        semantics: "faithful" or "sliced".
        """
        self.hiddens, self.semantics = tuple(hiddens), check_name("supernet semantics", semantics, SEMANTICS)

    def width(self, choice: int | Tensor, widen: int = 1) -> Width:
        """A width's choice as the number of channels kept, or as the mask over all channels (C,).

        choice: an index, or a weight for each choice.
        widen: how many times the hidden width the layer has.
        """
        hiddens = [widen * hidden for hidden in self.hiddens]
        if isinstance(choice, Tensor):
            return choice @ first_kept(hiddens).to(choice)
        if self.semantics == "sliced":
            return hiddens[choice]
        weight = self.enter.conv.weight
        return (torch.arange(max(hiddens), device=weight.device) < hiddens[choice]).to(weight.dtype)

    def conv(self, layer: ConvBNAct, x: Tensor, kept: Width) -> Tensor:
        """A convolution block at the width `kept`.

        layer: at its largest.
        x: (B, C, H, W).
        kept: as `width` gives it.
        """
        if isinstance(kept, int):
            return layer.act(_narrow_bn(layer.bn, _narrow_conv(layer.conv, x, kept), slice(0, kept)))
        y = layer.bn(layer.conv(x))
        mask = kept[..., None, None]
        return layer.act(y * mask) if self.semantics == "faithful" else layer.act(y) * mask

    def extract(self, *option: int) -> dict[str, Tensor]:
        """The state of the stand-alone block of an option, as copies.

        option: an index for every decision.
        """
        state = self.state_dict()
        return {name: state[name][index].clone() for name, index in self.slices(*option).items()}


class _Elastic(Masked):
    """What CSP and CSP2 share. Mixed in before the stand-alone block, whose modules it runs at their largest."""

    def __init__(self, c_in, c_out, hiddens: Sequence[int], depths: Sequence[int], act="mish", semantics="sliced"):
        super().__init__(c_in, c_out, max(hiddens), max(depths), act)
        self.keep(hiddens, semantics)
        self.depths = tuple(depths)

    def forward(self, x: Tensor, width: Entry, depth: Entry) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H, W)."""
        width = soft(width, len(self.hiddens))
        kept = self.width(width)
        if self.semantics == "sliced" and isinstance(depth, int):
            shallow, deep = next(itertools.islice(self.unroll(x, kept), depth, None))
            return self.leave(shallow, deep, kept)
        weights = self._depth_weights(depth)
        steps = list(itertools.islice(self.unroll(x, kept), len(weights)))
        deep = sum(weight * z for weight, (_, z) in zip(weights, steps, strict=True))
        return self.leave(steps[0][0], deep, kept)

    def _depth_weights(self, depth: Entry) -> Sequence[float | Tensor]:
        """One weight per depth choice; trailing zeros are dropped where the semantics let them be skipped."""
        if isinstance(depth, Subset):  # which says what weighs
            weights = dense(depth, len(self.depths)).unbind()
            return weights if self.semantics == "faithful" else weights[: max(depth.indices) + 1]
        if not isinstance(depth, Tensor):
            return [float(j == depth) for j in range(len(self.depths))]
        if self.semantics == "faithful" or depth.requires_grad:  # a weight of 0 may still have a gradient
            return depth.unbind()
        return depth[: int(depth.detach().nonzero().max()) + 1].unbind()

    def unroll(self, x: Tensor, kept: Width) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (input of the cross branch, output after n bottlenecks) for every depth choice n, ascending.

        All depths share their prefix: each bottleneck runs once. Stop early to run fewer.
        """
        z = self.conv(self.enter, x, kept)
        shallow = z if self.reverse else x
        done = 0
        for n in self.depths:
            for bottleneck in self.bottlenecks[done:n]:
                y = self.conv(bottleneck.conv, self.conv(bottleneck.reduce, z, kept), kept)
                z = y if self.reverse else z + y
            done = n
            yield shallow, z

    def leave(self, shallow: Tensor, deep: Tensor, kept: Width) -> Tensor:
        """Join both branches and fuse them: the block's output (B, c_out, H, W)."""
        if isinstance(kept, int):
            return self._leave_sliced(shallow, deep, kept)
        mask = kept[..., None, None]
        if self.semantics == "faithful":
            deep = deep if self.reverse else self.deep(deep) * mask  # reversed, no convolution since the last mask
            return self.fuse(self.act(self.bn(torch.cat([deep, self.cross(shallow) * mask], 1))))
        both = torch.cat([self._deep(deep, max(self.hiddens)), self.cross(shallow)], 1)
        return self.fuse(self.act(self.bn(both)) * torch.cat([mask, mask], -3))

    def _leave_sliced(self, shallow: Tensor, deep: Tensor, kept: int) -> Tensor:
        index = self._both(kept)
        both = torch.cat([self._deep(deep, kept), _narrow_conv(self.cross, shallow, kept)], 1)
        both = self.act(_narrow_bn(self.bn, both, index))
        fused = F.conv2d(both, self.fuse.conv.weight[:, index], self.fuse.conv.bias)
        return self.fuse.act(self.fuse.bn(fused))

    def _deep(self, z: Tensor, hidden: int) -> Tensor:
        """The deep branch's last convolution, where it has one, with its first `hidden` filters."""
        return z if self.reverse else _narrow_conv(self.deep, z, hidden)

    def _both(self, hidden: int) -> Tensor:
        """Indices of the kept channels in the concatenation of two maps of the largest width."""
        kept = torch.arange(hidden)
        return torch.cat([kept, max(self.hiddens) + kept]).to(self.bn.weight.device)

    def slices(self, width: int, depth: int) -> dict[str, tuple]:
        """For every tensor that the option (width, depth) keeps: its name and the index of the part it keeps."""
        hidden, n = self.hiddens[width], self.depths[depth]
        index = {}
        for name, tensor in self.state_dict().items():
            if name.startswith("bottlenecks.") and int(name.split(".")[1]) >= n:
                continue
            index[name] = self._slice(name, tensor, hidden)
        return index

    def _slice(self, name: str, tensor: Tensor, hidden: int) -> tuple:
        if tensor.ndim == 0:
            return ()
        if name.startswith("bn."):
            return (self._both(hidden),)
        if name.startswith("fuse."):
            return (slice(None), self._both(hidden)) if tensor.ndim == 4 else (slice(None),)
        reads_block_input = name == "enter.conv.weight" or (name == "cross.weight" and not self.reverse)
        kept_in = slice(None) if reads_block_input or tensor.ndim < 2 else slice(0, hidden)
        return (slice(0, hidden), kept_in) if tensor.ndim == 4 else (slice(0, hidden),)


class ElasticCSP(_Elastic, CSP):
    """`blocks.CSP` over several hidden widths and depths (WZDNAS, search block of the backbone)."""


class ElasticCSP2(_Elastic, CSP2):
    """`blocks.CSP2` over several hidden widths and depths (WZDNAS, search block of the neck)."""


def soft(entry: Entry, choices: int) -> int | Tensor:
    """An entry that names some choices only as weights of all of them.

    entry: of a path.
    choices: how many there are.
    """
    return dense(entry, choices) if isinstance(entry, Subset) else entry


def first_kept(kept: Sequence[int]) -> Tensor:
    """Masks (len(kept), max(kept)) over channels: row i is 1 for its first kept[i]."""
    return (torch.arange(max(kept)) < torch.tensor(kept)[:, None]).float()


def _narrow_conv(conv: nn.Conv2d | Factorised, x: Tensor, out: int) -> Tensor:
    """`conv` with its first `out` filters, reading the channels that `x` has."""
    if isinstance(conv, Factorised):
        return conv.narrow(x, out)
    bias = None if conv.bias is None else conv.bias[:out]
    return convolve(x, conv.weight[:out, : x.shape[1]], bias, conv)


def _narrow_bn(bn: nn.BatchNorm2d, x: Tensor, index: slice | Tensor) -> Tensor:
    """`bn` on the channels `index`, whose running statistics it updates in training mode."""
    mean, var = bn.running_mean[index], bn.running_var[index]
    y = F.batch_norm(x, mean, var, bn.weight[index], bn.bias[index], bn.training, bn.momentum, bn.eps)
    if bn.training and isinstance(index, Tensor):  # an indexed tensor is a copy, a slice is a view
        bn.running_mean[index], bn.running_var[index] = mean, var
    return y
