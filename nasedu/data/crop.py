"""Random parts of images: the crop with which networks for ImageNet are trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from nasedu.errors import ParameterError, check_number

TRIES = 10
Box = tuple[int, int, int, int]  # top, left, height, width in pixels
Cut = Callable[[int, int], Box]  # of an image's height and width


@dataclass(frozen=True)
class RandomCrop:
    """A part of random area and shape (Szegedy et al. 2015, section 6), distributed as torchvision's RandomResizedCrop.

    Raises `ParameterError`.

    scale: the least and the greatest share of the image's area.
    ratio: the least and the greatest width per height; uniform in its logarithm.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self):
        for name, most in (("scale", 1.0), ("ratio", math.inf)):
            low, high = (check_number(f"{name} of a crop", v, 0, most, above=True) for v in getattr(self, name))
            if low > high:
                raise ParameterError(f"{name} of a crop goes from the least to the greatest, got {low} and {high}")

    def box(self, height: int, width: int, generator: torch.Generator) -> Box:
        """The part of one image; after ten that stick out of it, the middle.

        height: of the image in pixels.
        width: likewise.
        generator: draws it.
        """
        low, high = map(math.log, self.ratio)
        for _ in range(TRIES):
            area, shape, down, right = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
            area = height * width * (self.scale[0] + area * (self.scale[1] - self.scale[0]))
            shape = math.exp(low + shape * (high - low))
            w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if 0 < w <= width and 0 < h <= height:
                return int(down * (height - h + 1)), int(right * (width - w + 1)), h, w
        w, h = min(width, round(height * self.ratio[1])), min(height, round(width / self.ratio[0]))
        return (height - h) // 2, (width - w) // 2, h, w

    def cuts(self, seeds: Tensor) -> list[Cut]:
        """The part of every image of a batch, by a seed (M,) of its own: threads may read them in any order."""
        return [partial(self.box, generator=torch.Generator().manual_seed(seed)) for seed in seeds.tolist()]
