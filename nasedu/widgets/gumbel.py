"""Gumbel-softmax samples, moved by their temperature."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nasedu import plots
from nasedu.sampling import gumbel_softmax
from nasedu.widgets.base import PictureWidget, slider


class GumbelWidget(PictureWidget):
    """Draws Gumbel-softmax samples of one decision again whenever its temperature or a logit is moved.

    Sliders: `temperature`, from 0.05 to 10 on a logarithmic scale, and `lead`, what the first choice's logit has over
    the others'. The noise stays the same, so that only what was moved changes. `samples` holds the latest weights
    (draws, choices).

    Args:
        choices: their names.
        draws: how many samples.
        temperature: at first.
        seed: of the noise.
    """

    def __init__(self, choices: Sequence[str], *, draws: int = 12, temperature: float = 1.0, seed: int = 0):
        self.choices, self.draws, self.seed = list(choices), draws, seed
        self.temperature = slider("temperature", temperature, -1.3, 1, 0.1, slow=False, powers=True)
        self.lead = slider(f"logit of {self.choices[0]}", 0.0, -3, 3, 0.25, slow=False)
        super().__init__(self.temperature, self.lead)

    def draw(self) -> tuple[plots.Picture, str]:
        """The samples as the sliders say, and a sentence."""
        logits = torch.zeros(self.draws, len(self.choices))
        logits[:, 0] = self.lead.value
        temperature = self.temperature.value
        (self.samples,) = gumbel_softmax([logits], temperature, torch.Generator().manual_seed(self.seed))
        wins = self.samples.argmax(1).bincount(minlength=len(self.choices)).tolist()
        told = ", ".join(f"{name} {n}" for name, n in zip(self.choices, wins, strict=True))
        words = f"T = {temperature:.2f}: the largest weight is {self.samples.amax(1).mean():.2f} on average, on {told}."
        labels = {"xlabel": "sample", "ylabel": "weight of each choice", "alt": words}
        return plots.stacks({f"T = {temperature:.2f}": self.samples}, self.choices, **labels), words
