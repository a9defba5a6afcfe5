"""Augmentation of a whole batch at once: mosaic, shift, zoom and mirror in a single warp, then colour.

As in Scaled-YOLOv4 (Wang et al. 2021): four images side by side make a canvas of twice the side, of which
the output is a randomly shifted and zoomed window as large as one image; then hue, saturation and value
are multiplied by random gains. Without mosaic the canvas is one image in a grey frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample
from torchvision.ops import box_area, clip_boxes_to_image

from nasedu.errors import ParameterError, check_number

GREY = 114  # of 255: what fills a canvas outside its images, as in letterboxing


class Change(NamedTuple):
    """What was drawn for B outputs: `mosaic` (B,), `zoom` (B, 2), negative in x where mirrored, `shift` (B, 2) in image
    sides, and `gains` (B, 3) of hue, saturation and value."""

    mosaic: Tensor
    zoom: Tensor
    shift: Tensor
    gains: Tensor


@dataclass(frozen=True)
class Augment:
    """`augment(images, targets, rng)` gives new images, float (B, 3, S, S) in 0..1, and their targets (n, 6).

    mosaic: probability of four images instead of one. translate: largest shift, in image sides. scale: the
    zoom is uniform in 1 - scale .. 1 + scale. hsv: largest relative change of hue, saturation and value.
    flip: probability of a mirror image (0 for data with a reading direction, such as digits).
    A box cut by the window is clipped; it is dropped when less than `min_area` of its (zoomed) area is left
    or when a side is left with `min_size` pixels or less, or one side is longer than the other by `max_aspect` or more:
    what can no longer be recognised is not taught. mixup: probability that a second such image is mixed into an output
    of `Batches`, by a share from Beta(8, 8), with the objects of both (Scaled-YOLOv4's public training; there colour
    and mirror are drawn once for both).
    Raises `ParameterError` for a setting out of its range.
    """

    mosaic: float = 1.0
    translate: float = 0.1
    scale: float = 0.5
    hsv: tuple[float, float, float] = (0.015, 0.7, 0.4)
    flip: float = 0.5
    min_area: float = 0.2
    min_size: float = 2.0
    max_aspect: float = 20.0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        check_number("max_aspect of the augmentation", self.max_aspect, 1)
        for name in ("mosaic", "flip", "translate", "min_area", "mixup"):
            check_number(f"{name} of the augmentation", getattr(self, name), most=1)
        if not 0 <= self.scale < 1 or len(self.hsv) != 3 or not all(0 <= gain <= 1 for gain in self.hsv):
            raise ParameterError(
                f"augmentation: scale must be at least 0 and below 1 and hsv three numbers from 0 to 1, "
                f"not {self.scale} and {self.hsv}"
            )

    def __call__(
        self, images: Tensor, targets: Tensor, rng: np.random.Generator, tiles: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """New images and targets, as the class says.

        images: uint8 (N, 3, S, S).
        targets: (n, 6).
        rng: draws everything.
        tiles: which images make each output, (B, 4), or (B, 1) where none is a mosaic; an output without mosaic
            shows only the first. By default B = N: every image comes first once and is joined by three others of
            the batch at random.
        """
        if tiles is None:
            others = rng.integers(len(images), size=(len(images), 3))
            tiles = torch.cat([torch.arange(len(images))[:, None], torch.from_numpy(others)], dim=1)
        change = self.draw(len(tiles), rng)
        return self.pixels(images, tiles, change), self.boxes(targets, tiles, change, images.shape[-1])

    def draw(self, count: int, rng: np.random.Generator) -> Change:
        """What is to be done to so many outputs; it depends on no pixel.

        count: outputs.
        rng: draws everything.
        """
        mosaic = torch.from_numpy(rng.random(count) < self.mosaic)
        zoom = np.repeat(rng.uniform(1 - self.scale, 1 + self.scale, (count, 1)), 2, axis=1)
        zoom[:, 0] *= np.where(rng.random(count) < self.flip, -1, 1)
        shift = rng.uniform(-self.translate, self.translate, (count, 2))
        gains = 1 + rng.uniform(-1, 1, (count, 3)) * self.hsv
        return Change(mosaic, *(torch.from_numpy(drawn).float() for drawn in (zoom, shift, gains)))

    def pixels(self, images: Tensor, tiles: Tensor, change: Change) -> Tensor:
        """The new images, float (B, 3, S, S) in 0..1, made where `images` are.

        images: uint8 (N, 3, S, S), on any device.
        tiles: (B, 4) or (B, 1), on the CPU as `change` is.
        change: what `draw` gave.
        """
        zoom, shift, gains = (drawn.to(images.device, non_blocking=True) for drawn in change[1:])
        warped = _warp(_canvas(images, tiles, change.mosaic), zoom, shift)
        return jitter_hsv(warped, gains) if any(self.hsv) else warped

    def boxes(self, targets: Tensor, tiles: Tensor, change: Change, side: int) -> Tensor:
        """The targets of all tiles, moved with their pixels.

        targets: (n, 6), on the CPU as everything here.
        tiles: as in `pixels`.
        change: likewise.
        side: S.
        """
        mosaic, zoom, shift, _ = change
        used = mosaic[:, None] | (torch.arange(tiles.shape[1]) == 0)
        output, tile, row = (used[..., None] & (tiles[..., None] == targets[:, 0])).nonzero(as_tuple=True)
        corner = torch.stack([tile % 2, tile // 2], dim=1) * float(side)
        corner = torch.where(mosaic[output, None], corner, side / 2)
        points = targets[row, 2:].view(-1, 2, 2) + (corner - side)[:, None]  # from the canvas centre
        points = points * zoom[output, None] + (0.5 + shift[output, None]) * side
        boxes = torch.cat([points.amin(dim=1), points.amax(dim=1)], dim=1)
        clipped = clip_boxes_to_image(boxes, (side, side))
        sides = clipped[:, 2:] - clipped[:, :2]
        keep = (sides > self.min_size).all(dim=1) & (sides.amax(dim=1) < self.max_aspect * sides.amin(dim=1))
        keep &= box_area(clipped) >= self.min_area * box_area(boxes)
        return torch.cat([output[:, None], targets[row, 1:2], clipped], dim=1)[keep]


def _canvas(images: Tensor, tiles: Tensor, mosaic: Tensor) -> Tensor:
    """Float canvases (B, 3, 2S, 2S) less grey, so that grey is the zero inside them and outside."""
    side, mosaics = images.shape[-1], int(mosaic.sum())
    # places rather than masks, which a GPU would have to be asked for
    whole, single = (mask.nonzero().flatten() for mask in (mosaic, ~mosaic))
    several, first, whole, single = (
        index.to(images.device, non_blocking=True) for index in (tiles[whole], tiles[single, 0], whole, single)
    )
    quarters = images[several.reshape(mosaics, 2, 2)].permute(0, 3, 1, 4, 2, 5)  # B, 3, row, S, column, S
    tiled = quarters.reshape(mosaics, 3, 2 * side, 2 * side).float().sub_(GREY)
    if mosaics == len(tiles):
        return tiled
    canvas = torch.zeros(len(tiles), *tiled.shape[1:], device=images.device)
    canvas[whole] = tiled
    inner = slice(side // 2, side // 2 + side)
    canvas[single, :, inner, inner] = images[first].float() - GREY
    return canvas


def _warp(canvas: Tensor, zoom: Tensor, shift: Tensor) -> Tensor:
    """The window (B, 3, S, S) in 0..1 of canvases (B, 3, 2S, 2S), whose centre lands at (0.5 + shift) * S."""
    # In coordinates from -1 to 1 across: canvas = (window / 2 - shift) / zoom; the canvas is twice as wide.
    matrix = torch.cat([torch.diag_embed(0.5 / zoom), (-shift / zoom)[..., None]], dim=2)
    side = canvas.shape[-1] // 2
    grid = affine_grid(matrix, [len(canvas), 3, side, side], align_corners=False)
    return grid_sample(canvas, grid, align_corners=False).add_(GREY).div_(255)


def jitter_hsv(images: Tensor, gains: Tensor) -> Tensor:
    """Multiply hue, saturation and value of images (B, 3, H, W) in 0..1 by gains (B, 3); both ends saturate.

    The hexcone model of Smith (1978), hue in sixths of the circle.
    """
    red, green, blue = images.unbind(dim=1)
    value, chroma = images.amax(dim=1), images.amax(dim=1) - images.amin(dim=1)
    hue = torch.where(value == green, 2 + (blue - red) / chroma, 4 + (red - green) / chroma)
    hue = torch.where(value == red, (green - blue) / chroma % 6, hue)
    saturation = chroma / value.clamp(min=1e-6)
    gain = gains[:, :, None, None]
    hue = torch.where(chroma > 0, hue * gain[:, 0] % 6, 0)
    colour = value.mul(gain[:, 2]).clamp(max=1)
    depth = colour * saturation.mul(gain[:, 1]).clamp(max=1)
    full = [(hue - 3).abs() - 1, 2 - (hue - 2).abs(), 2 - (hue - 4).abs()]  # how much red, green, blue
    return torch.stack([colour - depth * (1 - part.clamp(0, 1)) for part in full], dim=1)
