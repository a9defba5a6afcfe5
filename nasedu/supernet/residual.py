"""Residual networks of elastic width and depth: a narrow layer has the first channels of the widest one.

Every width is a choice index, a weight for each choice (n_choices,), or a `Subset`. An index runs the slices that it
keeps and costs what the stand-alone block costs. Under weights everything runs, and a mask, the sum of the choices'
masks by their weights, multiplies each map after its activation; activations leave zero at zero, so a one-hot path
equals the stand-alone network. A block that the depth may leave out adds its change of the input as often as the depth
is likely to reach it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nasedu.blocks.basic import BasicBlock, Stem
from nasedu.blocks.mobile import Classifier
from nasedu.supernet.elastic import _narrow_bn, _narrow_conv, first_kept, soft
from nasedu.supernet.mixed import Entry

Width = int | Tensor  # channels kept, or a mask over all channels (C,)


def kept(entry: Entry, widths: Sequence[int]) -> Width:
    """A choice of width as the number of channels kept, or as the mask over all of them (C,)."""
    entry = soft(entry, len(widths))
    return entry @ first_kept(widths).to(entry) if isinstance(entry, Tensor) else widths[entry]


def _masked(x: Tensor, width: Width) -> Tensor:
    return x if isinstance(width, int) else x * width[:, None, None]


def _run(layer: nn.Module, x: Tensor, width: Width) -> Tensor:
    """A convolution with its normalisation, as many channels as `width` keeps, before any mask."""
    out = width if isinstance(width, int) else layer.conv.out_channels
    return layer.act(_narrow_bn(layer.bn, _narrow_conv(layer.conv, x, out), slice(0, out)))


def _sliced(state: dict[str, Tensor], out: int | None, into: int | None) -> dict[str, Tensor]:
    """Copies of tensors with their first `out` rows and, where they have columns, first `into` columns; None: all."""
    return {
        name: (value[:out, :into] if value.ndim > 1 else value[:out] if value.ndim else value).clone()
        for name, value in state.items()
    }


class ElasticStem(Stem):
    """`blocks.basic.Stem` of several widths: `forward(x, width)`.

    widths: of its output.
    stride: of the convolution.
    pool: whether a pool follows.
    """

    def __init__(self, widths: Sequence[int], stride: int = 2, pool: bool = True):
        super().__init__(max(widths), stride, pool)
        self.widths = tuple(widths)

    def forward(self, x: Tensor, width: Entry) -> Tensor:
        """(B, 3, H, W) to (B, c, H/s, W/s), c the kept channels, or all of them under a mask."""
        width = kept(width, self.widths)
        return self.pool(_masked(_run(self.conv, x, width), width))

    def extract(self, width: int) -> dict[str, Tensor]:
        """The state of the stand-alone stem, as copies."""
        return _sliced(self.state_dict(), self.widths[width], None)


class ElasticClassifier(Classifier):
    """`blocks.Classifier` on maps of several widths: `forward(x, width)`."""

    def __init__(self, widths: Sequence[int], num_classes: int):
        super().__init__(max(widths), num_classes)
        self.widths = tuple(widths)

    def forward(self, x: Tensor, width: Entry) -> Tensor:
        """(B, C, H, W) to logits (B, classes); only the kept channels are read."""
        x = x[:, : self.widths[width]] if isinstance(width, int) else x
        return nn.functional.linear(x.mean((2, 3)), self.linear.weight[:, : x.shape[1]], self.linear.bias)

    def extract(self, width: int) -> dict[str, Tensor]:
        """The state of the stand-alone classifier, as copies."""
        return _sliced(self.state_dict(), None, self.widths[width])


class ElasticBasicBlock(BasicBlock):
    """`blocks.basic.BasicBlock` over several widths of its input, its inside and its output, which may be left out.

    `forward(x, [depth], [into], hidden, out)`: the first two entries where there are such decisions.

        into: the input's widths.
        hidden: those of the inside.
        out: the output's.
        stride: of the first convolution.
        act: the activation after the sum.
        reads: whether the input's width is a decision of its own; else it is the output's, of the same widths.
        after: with a depth decision, its first choice that has this block; None: every network has it.
    """

    def __init__(
        self,
        into: Sequence[int],
        hidden: Sequence[int],
        out: Sequence[int],
        stride: int = 1,
        act: str = "relu",
        reads: bool = False,
        after: int | None = None,
    ):
        super().__init__(max(into), max(hidden), max(out), stride, act)
        self.into, self.hidden, self.out = tuple(into), tuple(hidden), tuple(out)
        self.reads, self.after = reads, after

    def forward(self, x: Tensor, *entries: Entry) -> Tensor:
        """(B, C, H, W) to (B, c, H/s, W/s), c the kept channels, or all of them under a mask."""
        *depth, hidden, out = entries
        read = depth.pop() if self.reads else out
        x = x[:, : self.into[read]] if isinstance(read, int) else x
        if not depth:
            return self._block(x, hidden, out)
        (depth,) = depth
        if isinstance(depth, int):
            return self._block(x, hidden, out) if depth >= self.after else x
        return x + _reached(depth, self.after) * (self._block(x, hidden, out) - x)

    def _block(self, x: Tensor, hidden: Entry, out: Entry) -> Tensor:
        inside, width = kept(hidden, self.hidden), kept(out, self.out)
        y = _run(self.conv2, _masked(_run(self.conv1, x, inside), inside), width)
        y = y + (x if isinstance(self.shortcut, nn.Identity) else _run(self.shortcut, x, width))
        return _masked(self.act(y), width)

    def extract(self, *option: int) -> dict[str, Tensor]:
        """The state of the stand-alone block of an option, as copies; none where it is left out."""
        *depth, hidden, out = option
        into = self.into[depth.pop()] if self.reads else self.out[out]
        if depth and depth[0] < self.after:
            return {}
        state, found = self.state_dict(), {}
        ends = {"conv1": (self.hidden[hidden], into), "conv2": (self.out[out], self.hidden[hidden])}
        ends |= {"shortcut": (self.out[out], into), "act": (None, None)}
        for name, (rows, columns) in ends.items():
            found |= _sliced({n: v for n, v in state.items() if n.split(".")[0] == name}, rows, columns)
        return found


def _reached(depth: Entry, first: int) -> Tensor:
    """The weight of all choices from the first on."""
    if isinstance(depth, Tensor):
        return depth[first:].sum()
    return sum((w for i, w in zip(depth.indices, depth.weights, strict=True) if i >= first), torch.zeros(()))


@torch.no_grad()
def sort_channels(supernet: nn.Module) -> None:
    """Put the channels inside every elastic basic block in the order of their importance, in place.

    Importance is the L1 norm of the weights that read a channel (Once-for-All, section 3.3: narrow networks then start
    with the channels that matter). What a full-width network computes stays the same; outputs of blocks keep their
    order, for others are added to them.
    """
    for block in supernet.modules():
        if isinstance(block, ElasticBasicBlock):
            order = block.conv2.conv.weight.abs().sum((0, 2, 3)).argsort(descending=True, stable=True)
            bn = block.conv1.bn
            for tensor in (block.conv1.conv.weight, bn.weight, bn.bias, bn.running_mean, bn.running_var):
                tensor.copy_(tensor[order].clone())
            block.conv2.conv.weight.copy_(block.conv2.conv.weight[:, order].clone())
