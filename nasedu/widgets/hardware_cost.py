"""An inverted residual's cost, moved by its channels, expansion, kernel, stride and map size."""

from __future__ import annotations

import torch

from nasedu import plots
from nasedu.blocks import MBConv
from nasedu.hardware import Count, count
from nasedu.widgets.base import PictureWidget, slider

LAYERS = {"expand.conv": "first 1×1", "depthwise.conv": "depthwise", "project.conv": "last 1×1"}


class BlockCostWidget(PictureWidget):
    """Counts an inverted residual again whenever one of its settings is moved: MACs, data moved, weights, intensity.

    Each setting has a slider of its name. `count` holds the latest count. The picture has a bar for each convolution,
    and one for all that computes no MACs. Nothing is computed, so it is quick.

    Args:
        channels: at first, as all settings; the block puts out as many as come in.
        expansion: of the channels within the block.
        kernel: of the depthwise convolution.
        stride: of the depthwise convolution.
        size: of the map that comes in, px.
    """

    def __init__(self, channels: int = 32, expansion: int = 6, kernel: int = 3, stride: int = 1, size: int = 56):
        self.channels = slider("channels", channels, 8, 256, 8, slow=False)
        self.expansion = slider("expansion", expansion, 1, 8, slow=False)
        self.kernel = slider("kernel", kernel, 1, 11, 2, slow=False)
        self.stride = slider("stride", stride, 1, 2, slow=False)
        self.size = slider("map size (px)", size, 7, 112, 7, slow=False)
        super().__init__(self.channels, self.expansion, self.kernel, self.stride, self.size)

    def draw(self) -> tuple[plots.Picture, str]:
        """What the block costs as the controls say, and a sentence."""
        channels, size = self.channels.value, self.size.value
        with torch.device("meta"):
            block = MBConv(channels, channels, self.kernel.value, self.expansion.value, self.stride.value)
        self.count: Count = count(block, (channels, size, size))
        words = (
            f"{channels} channels, {size} px, {self.kernel.value}×{self.kernel.value}, expansion "
            f"{self.expansion.value}, stride {self.stride.value}: {self.count.macs / 1e6:.3g} million MACs, "
            f"{self.count.params:,} parameters, {self.count.moved_bytes / 1e6:.3g} MB moved, "
            f"{self.count.intensity:.2g} MACs per byte."
        )
        rows = self.count.frame().drop("total")
        layers = rows[rows.kind == "Conv2d"].rename(LAYERS)[["macs", "moved_bytes", "intensity"]]
        layers.loc["the rest"] = 0, rows[rows.kind != "Conv2d"].moved_bytes.sum(), 0
        panels = {"MACs (millions)": layers.macs / 1e6, "data moved (MB)": layers.moved_bytes / 1e6}
        panels["MACs per byte"] = layers.intensity
        return plots.bars({title: values.to_dict() for title, values in panels.items()}, alt=words), words
