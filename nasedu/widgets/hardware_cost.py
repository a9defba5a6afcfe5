"""An inverted residual's cost, moved by its channels, expansion, kernel, stride and map size."""

from __future__ import annotations

import base64
import html

import ipywidgets
import torch

from nasedu import plots
from nasedu.blocks import MBConv
from nasedu.hardware import Count, count

LAYERS = {"expand": "first 1×1", "depthwise": "depthwise", "project": "last 1×1"}


class BlockCostWidget(ipywidgets.VBox):
    """Counts an inverted residual again whenever one of its settings is moved: MACs, data moved, weights, intensity.

    Sliders: `channels` (in and out), `expansion`, `kernel`, `stride` and `size` of the map in px. `count` holds the
    latest count; `view` shows it by layer, with the totals in words. Nothing is computed, so it is quick.
    """

    def __init__(self, channels: int = 32, expansion: int = 6, kernel: int = 3, stride: int = 1, size: int = 56):
        wide = {"style": {"description_width": "12em"}, "layout": {"width": "32em"}}
        self.channels = ipywidgets.IntSlider(channels, min=8, max=256, step=8, description="channels", **wide)
        self.expansion = ipywidgets.IntSlider(expansion, min=1, max=8, description="expansion", **wide)
        self.kernel = ipywidgets.IntSlider(kernel, min=1, max=11, step=2, description="kernel", **wide)
        self.stride = ipywidgets.IntSlider(stride, min=1, max=2, description="stride", **wide)
        self.size = ipywidgets.IntSlider(size, min=7, max=112, step=7, description="map size (px)", **wide)
        self.view = ipywidgets.HTML()
        sliders = (self.channels, self.expansion, self.kernel, self.stride, self.size)
        for slider in sliders:
            slider.observe(self._draw, names="value")
        self._draw()
        super().__init__([*sliders, self.view])

    def picture(self) -> plots.Picture:
        """What the view shows, as a fixed figure: a bar for each convolution, and one for all that computes no MACs."""
        costs = {name: self._convolution(part) for part, name in LAYERS.items()}
        costs = {name: found for name, found in costs.items() if found is not None}
        rest = [layer for layer in self.count.layers if layer.kind != "Conv2d"]
        panels = {
            "MACs (millions)": {name: layer.macs / 1e6 for name, layer in costs.items()} | {"the rest": 0.0},
            "data moved (MB)": {name: layer.moved_bytes / 1e6 for name, layer in costs.items()}
            | {"the rest": sum(layer.moved_bytes for layer in rest) / 1e6},
            "MACs per byte": {name: layer.intensity for name, layer in costs.items()} | {"the rest": 0.0},
        }
        return plots.bars(panels)

    def _convolution(self, part: str):
        return next((layer for layer in self.count.layers if layer.name == f"{part}.conv"), None)

    def _draw(self, _change: object = None) -> None:
        """Count the block of these settings, and draw."""
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
        png = base64.b64encode(self.picture().png()).decode()
        image = f'<img alt="{html.escape(words)}" style="max-width: 100%" src="data:image/png;base64,{png}"/>'
        self.view.value = f'<p role="status">{html.escape(words)}</p>{image}'
