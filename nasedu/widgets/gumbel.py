"""Gumbel-softmax samples, moved by their temperature."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

import ipywidgets
import torch

from nasedu import plots
from nasedu.sampling import gumbel_softmax


class GumbelWidget(ipywidgets.VBox):
    """Draws Gumbel-softmax samples of one decision again whenever its temperature or a logit is moved.

    Sliders: `temperature`, from 0.05 to 10 on a logarithmic scale, and `lead`, what the first choice's logit has over
    the others'. The noise stays the same, so that only what was moved changes. `samples` holds the latest weights
    (draws, choices); `view` shows them, with how far from hard and how often each choice wins in words.
    """

    def __init__(self, choices: Sequence[str], *, draws: int = 12, temperature: float = 1.0, seed: int = 0):
        self.choices, self.draws, self.seed = list(choices), draws, seed
        wide = {"style": {"description_width": "12em"}, "layout": {"width": "32em"}}
        self.temperature = ipywidgets.FloatLogSlider(
            temperature, min=-1.3, max=1, step=0.1, description="temperature", readout_format=".2f", **wide
        )
        self.lead = ipywidgets.FloatSlider(
            0.0, min=-3, max=3, step=0.25, description=f"logit of {self.choices[0]}", readout_format=".2f", **wide
        )
        self.view = ipywidgets.HTML()
        for slider in (self.temperature, self.lead):
            slider.observe(self._draw, names="value")
        self._draw()
        super().__init__([self.temperature, self.lead, self.view])

    def _draw(self, _change: object = None) -> None:
        """Sample with the same noise as before, and draw."""
        generator = torch.Generator().manual_seed(self.seed)
        logits = torch.zeros(self.draws, len(self.choices))
        logits[:, 0] = self.lead.value
        temperature = self.temperature.value
        self.samples = gumbel_softmax([logits], temperature, generator)[0]
        wins = self.samples.argmax(1).bincount(minlength=len(self.choices)).tolist()
        told = ", ".join(f"{name} {n}" for name, n in zip(self.choices, wins, strict=True))
        largest = float(self.samples.max(1).values.mean())
        words = f"T = {temperature:.2f}: the largest weight is {largest:.2f} on average. It falls on {told}."
        png = base64.b64encode(plots.weight_bars({f"T = {temperature:.2f}": self.samples}, self.choices).png()).decode()
        image = f'<img alt="{html.escape(words)}" style="max-width: 100%" src="data:image/png;base64,{png}"/>'
        self.view.value = f'<p role="status">{html.escape(words)}</p>{image}'
