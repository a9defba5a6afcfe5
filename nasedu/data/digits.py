"""Detection scenes composed of real handwritten digits, with no download.

The digits are scikit-learn's bundled set: 1,797 images of 8x8 pixels from 13 writers, the test part of
E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.

**Same seed, same bytes, on any machine.** Random numbers come from a generator's bits and its uniform doubles
only; pixels are computed in integers, or in floats that hold small dyadic fractions, whose sums and products
are exact in any order. The one sine and cosine of a digit are rounded to 16 bits before use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy import ndarray

from nasedu.data import splits
from nasedu.data.dataset import DetectionDataset, Sample, make_boxes
from nasedu.errors import check_number

CLASSES = [str(digit) for digit in range(10)]
SIZES = {"train": 1500, "val": 200, "test": 300}
BOUNDS = {"train": (0, 0.7), "val": (0.7, 0.8), "test": (0.8, 1)}  # which part of each class's source digits

KNOBS = {  # what difficulty changes: the value at 0, the value at 1
    "contrast": (130, 20),  # least difference in brightness between a digit and what lies under it, of 255
    "rotation": (0, 50),  # largest turn either way, degrees
    "distractors": (0, 14),  # most strokes behind the digits
    "occluders": (0, 6),  # most strokes in front of them
    "hidden": (0.0, 0.55),  # largest part of a digit that others may cover
    "texture": (10, 60),  # amplitude of the background's pattern, of 255
    "noise": (2, 40),  # amplitude of the pixel noise, of 255
}

ZOOM, SIDE = 8, 80  # a source digit, with an empty rim of one pixel, is enlarged from 10x10 to 80x80
EDGE = 118  # the enlarged glyph's grey level, of 255, at which its ink begins
INK = 128  # opacity, of 256, from which a pixel counts as ink
ONE = 1 << 16  # 1.0 in the fixed-point numbers that place and turn a digit


@dataclass(frozen=True)
class Scene:
    """One scene: image uint8 (3, S, S); per digit its box (x1, y1, x2, y2), class, and source image."""

    image: ndarray
    boxes: list[tuple[int, int, int, int]]
    labels: list[int]
    sources: list[int]


def digits(
    split: str, *, image_size: int = 128, seed: int = 0, size: int | None = None, difficulty: float = 0.2
) -> DetectionDataset:
    """Scenes of 2 to 6 digits in 10 classes, with boxes that are tight around a digit's visible ink.

    The same arguments give the same bytes. Raises ParameterError for a difficulty out of range.

    split: no source digit occurs in two splits, whatever the seed.
    image_size: pixels of a side.
    seed: draws the scenes.
    size: how many (1,500 train, 200 val or 300 test by default); scene i does not depend on it.
    difficulty: 0 to 1, scales contrast, occlusion, distractors, rotation, texture and noise.
    """
    size = SIZES[split] if size is None else size
    check_number("difficulty, from plain to hardest,", difficulty, most=1)
    scenes = [draw(split, i, image_size=image_size, seed=seed, difficulty=difficulty) for i in range(size)]
    samples = [_sample(scene, split, i) for i, scene in enumerate(scenes)]
    images = [torch.from_numpy(scene.image) for scene in scenes]
    load = images.__getitem__  # all in memory: nothing to cache
    return DetectionDataset("digits", split, CLASSES, samples, load, image_size=image_size, cache_bytes=0)


def draw(split: str, index: int, *, image_size: int = 128, seed: int = 0, difficulty: float = 0.2) -> Scene:
    """One scene: a background, strokes behind, digits, strokes in front, noise.

    split: as in `digits`.
    index: its number.
    image_size: as in `digits`.
    seed: likewise.
    difficulty: likewise.
    """
    entropy = seed, list(SIZES).index(split), index
    rng = np.random.Generator(np.random.PCG64(entropy))  # named, because default_rng may change its mind
    knobs = {name: easy + (hard - easy) * difficulty for name, (easy, hard) in KNOBS.items()}
    painter = _Painter(rng, image_size, knobs)
    for _ in range(painter.whole(0, knobs["distractors"])):
        painter.stroke()
    for _ in range(painter.whole(2, 6)):
        painter.digit(sources(split))
    for _ in range(painter.whole(0, knobs["occluders"])):
        painter.stroke(in_front=True)
    return Scene(painter.image(), painter.boxes(), painter.labels, painter.sources)


@cache
def sources(split: str) -> ndarray:
    """Which of the 1,797 source digits a split draws from, int64 (n,): the same for every seed."""
    return splits.by_class(_glyphs()[1], *BOUNDS[split])


class _Painter:
    """A canvas, int32 (3, S, S), and who owns each of its pixels: -1 nobody, k the k-th digit."""

    def __init__(self, rng: np.random.Generator, size: int, knobs: dict[str, float]):
        self.rng, self.size, self.knobs = rng, size, knobs
        self.canvas = _background(rng, size, knobs["texture"])
        self.owner = np.full((size, size), -1, np.int32)
        self.ink: list[int] = []  # ink pixels of each digit before anything covered it
        self.seen: list[int] = []  # and those that are still in sight
        self.labels: list[int] = []
        self.sources: list[int] = []

    def whole(self, low: float, high: float) -> int:
        """A whole number from low to high, both included."""
        return int(low) + int(self.rng.random() * (math.floor(high + 0.5) - int(low) + 1))

    def scaled(self, low: float, high: float) -> int:
        """A length between low and high pixels of a 128 px scene, in pixels of this one."""
        return max(1, round((low + (high - low) * self.rng.random()) * self.size / 128))

    def digit(self, choice: ndarray, tries: int = 8) -> None:
        """Place a digit where it leaves enough of the earlier ones in sight; give up after some tries."""
        source = int(choice[self.whole(0, len(choice) - 1)])
        turn = math.radians(self.knobs["rotation"] * (2 * self.rng.random() - 1))
        alpha = _turned(source, self.scaled(16, 68), turn)
        for _ in range(tries if max(alpha.shape) <= self.size else 0):
            y, x = (self.whole(0, self.size - side) for side in alpha.shape)
            if self._may_cover(y, x, alpha):
                self._paint(y, x, alpha, owner=len(self.labels))
                self.labels.append(int(_glyphs()[1][source]))
                self.sources.append(source)
                return

    def stroke(self, in_front: bool = False) -> None:
        """A straight stroke anywhere. In front, it may hide digits only in part and is dropped otherwise."""
        dy, dx = (self.whole(-self.scaled(24, 48), self.scaled(24, 48)) for _ in range(2))
        alpha = _line(dy, dx, self.scaled(2, 7))
        y, x = (self.whole(-side // 2, self.size - side // 2) for side in alpha.shape)
        top, left = max(0, -y), max(0, -x)
        y, x = y + top, x + left
        alpha = alpha[top : top + self.size - y, left : left + self.size - x]
        if alpha.size and (not in_front or self._may_cover(y, x, alpha)):
            self._paint(y, x, alpha, owner=-1)

    def _may_cover(self, y: int, x: int, alpha: ndarray) -> bool:
        """Would every digit still show enough of its ink under `alpha` at (y, x)?"""
        counts = zip(self.seen, self._covered(y, x, alpha), self.ink, strict=True)
        return all(seen - gone >= (1 - self.knobs["hidden"]) * ink for seen, gone, ink in counts)

    def _covered(self, y: int, x: int, alpha: ndarray) -> list[int]:
        """How many pixels in sight each digit would lose."""
        under = self._window(self.owner, y, x, alpha)[alpha >= INK] + 1
        return np.bincount(under, minlength=len(self.ink) + 1)[1:].tolist()

    def _paint(self, y: int, x: int, alpha: ndarray, owner: int) -> None:
        window = self._window(self.canvas, y, x, alpha)
        colour = self._colour(window)
        window += ((colour - window) * alpha) >> 8
        lost = self._covered(y, x, alpha)
        self.seen = [seen - gone for seen, gone in zip(self.seen, lost, strict=True)]
        solid = alpha >= INK
        self._window(self.owner, y, x, alpha)[solid] = owner
        if owner >= 0:
            self.ink.append(int(solid.sum()))
            self.seen.append(self.ink[-1])

    def _colour(self, window: ndarray) -> ndarray:
        """A colour, int32 (3, 1, 1), brighter or darker than the window's mean by the contrast or more."""
        mean = int(window.sum()) // window.size
        gap = self.knobs["contrast"] * (1 + self.rng.random())
        tint = [self.whole(-50, 50) for _ in range(3)]
        fits = [side for side in (1, -1) if 0 <= mean + side * gap <= 255] or [1 if mean < 128 else -1]
        level = mean + fits[self.whole(0, len(fits) - 1)] * int(gap)
        balanced = [level + 2 * t - sum(tint) * 2 // 3 for t in tint]  # the tint leaves the brightness alone
        return np.clip(balanced, 0, 255).astype(np.int32).reshape(3, 1, 1)

    @staticmethod
    def _window(array: ndarray, y: int, x: int, alpha: ndarray) -> ndarray:
        return array[..., y : y + alpha.shape[0], x : x + alpha.shape[1]]

    def boxes(self) -> list[tuple[int, int, int, int]]:
        """Corners (x1, y1, x2, y2) around each digit's visible ink; x2 and y2 lie past its last pixel."""
        return [_corners(self.owner == k) for k in range(len(self.labels))]

    def image(self) -> ndarray:
        """The canvas with noise (the difference of two bytes, so triangular), uint8 (3, S, S)."""
        raw = np.frombuffer(self.rng.bytes(2 * self.canvas.size), np.uint8).astype(np.int32)
        noise = (raw[::2] - raw[1::2]) * int(self.knobs["noise"]) >> 8
        return np.clip(self.canvas + noise.reshape(self.canvas.shape), 0, 255).astype(np.uint8)


def _background(rng: np.random.Generator, size: int, texture: float) -> ndarray:
    """A random colour under smooth coloured blotches of three sizes and, half of the time, soft stripes."""
    level, tint = 40 + 175 * rng.random(), rng.random(3) * 80 - 40
    canvas = np.zeros((3, size, size)) + (level + tint)[:, None, None]
    for cells, share in ((3, 1.0), (8, 0.6), (24, 0.5)):
        grid = np.frombuffer(rng.bytes(3 * cells * cells), np.uint8).astype(np.float64) - 127.5
        weights = _blend_weights(size, cells)
        canvas += weights @ (grid.reshape(3, cells, cells) * (int(texture * share) / 128)) @ weights.T
    if rng.random() < 0.5:
        canvas += _stripes(rng, size, int(texture))
    return np.clip(canvas, 0, 255).astype(np.int32)


def _stripes(rng: np.random.Generator, size: int, amplitude: int) -> ndarray:
    """A triangle wave along a random direction, int32 (S, S), from -amplitude / 2 to amplitude / 2."""
    fy, fx = (int((2 * rng.random() - 1) * 16 * 256) for _ in range(2))  # periods per image, in 256ths
    steps = np.arange(size, dtype=np.int64)
    phase = (steps[:, None] * fy + steps * fx) // size & 255
    return ((np.abs(phase - 128) - 64) * amplitude >> 7).astype(np.int32)


@cache
def _blend_weights(size: int, cells: int) -> ndarray:
    """Linear interpolation from `cells` knots to `size` pixels, in 64ths: (size, cells), rows sum to 1."""
    place = np.arange(size) * (cells - 1) * 64 // size
    weights = np.zeros((size, cells))
    weights[np.arange(size), place // 64] = 1 - place % 64 / 64
    weights[np.arange(size), place // 64 + 1] = place % 64 / 64
    return weights


def _line(dy: int, dx: int, width: int) -> ndarray:
    """Opacity, int32 (h, w) of 256, of a straight stroke along (dy, dx) with soft edges and flat ends."""
    length = max(1, math.isqrt(dy * dy + dx * dx))
    y = np.arange(abs(dy) + 2 * width, dtype=np.int32)[:, None] - width - max(0, -dy)
    x = np.arange(abs(dx) + 2 * width, dtype=np.int32)[None, :] - width - max(0, -dx)
    across = np.abs(y * dx - x * dy) * 256 // length
    along = (y * dy + x * dx) * 256 // length
    side = width * 128 + 128 - across
    ends = np.minimum(along + 128, length * 256 + 128 - along)
    return np.clip(np.minimum(side, ends), 0, 256)


def _turned(source: int, height: int, turn: float) -> ndarray:
    """Opacity, int32 (h, w) of 256, of a digit whose ink was `height` pixels high before a turn in radians.

    Cropped to the rectangle of its ink. Each pixel looks up its place in the enlarged glyph, bilinearly.
    """
    glyphs, _, inks = _glyphs()
    x1, y1, x2, y2 = inks[source]
    step = (y2 - y1) / height  # glyph pixels per scene pixel
    cos, sin = round(step * math.cos(turn) * ONE), round(step * math.sin(turn) * ONE)
    reach = math.ceil(math.hypot(x2 - x1, y2 - y1) / step / 2) + 2
    at = np.arange(-reach, reach + 1, dtype=np.int32)
    u = at * cos - at[:, None] * sin + (x1 + x2) * (ONE // 2)
    v = at * sin + at[:, None] * cos + (y1 + y2) * (ONE // 2)
    value = _bilinear(glyphs[source], np.clip(v, 0, (SIDE - 2) * ONE), np.clip(u, 0, (SIDE - 2) * ONE))
    steepness = max(height, 24)  # an edge of about two scene pixels at every size
    alpha = np.clip(INK + (value - EDGE) * steepness // 12, 0, 256)
    left, top, right, bottom = _corners(alpha >= INK)
    return alpha[top:bottom, left:right]


def _bilinear(image: ndarray, v: ndarray, u: ndarray) -> ndarray:
    """Values of `image` at fixed-point rows v and columns u, in whole grey levels."""
    row, column = v >> 16, u >> 16
    fv, fu = v >> 8 & 255, u >> 8 & 255
    corner, flat = row * SIDE + column, image.ravel().astype(np.int32)
    upper = flat[corner] * (256 - fu) + flat[corner + 1] * fu
    lower = flat[corner + SIDE] * (256 - fu) + flat[corner + SIDE + 1] * fu
    return (upper * (256 - fv) + lower * fv) >> 16


@cache
def _glyphs() -> tuple[ndarray, ndarray, list[tuple[int, int, int, int]]]:
    """All source digits enlarged, uint8 (1797, 80, 80); their classes; their ink's corners."""
    from sklearn.datasets import load_digits  # a second to import: only for those who ask for digits

    bundle = load_digits()
    small = np.pad(bundle.images, ((0, 0), (1, 1), (1, 1)))
    weights = _cubic_weights()
    large = np.empty((len(small), SIDE, SIDE), np.uint8)
    for glyph, pixels in zip(large, small, strict=True):
        glyph[:] = np.clip(np.floor(weights @ pixels @ weights.T * (255 / pixels.max())), 0, 255)
    return large, bundle.target, [_corners(glyph >= EDGE) for glyph in large]


def _cubic_weights() -> ndarray:
    """Catmull-Rom interpolation from 10 to 80 pixels: (80, 10), multiples of 2**-13, so exact in float64."""
    place = (np.arange(SIDE) + 0.5) / ZOOM - 0.5
    t = np.abs(place[:, None] - np.arange(SIDE // ZOOM))
    near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t < 1, near, np.where(t < 2, far, 0.0))


def _corners(mask: ndarray) -> tuple[int, int, int, int]:
    """(x1, y1, x2, y2) of a mask's true part; x2 and y2 lie one past it."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _sample(scene: Scene, split: str, index: int) -> Sample:
    boxes = make_boxes(scene.boxes, scene.image.shape[1:])
    labels = torch.tensor(scene.labels, dtype=torch.int64)
    ignore = torch.zeros(len(labels), dtype=torch.bool)
    return Sample(f"digits/{split}/{index:05d}", index, boxes, labels, ignore)
