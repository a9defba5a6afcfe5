"""Image files to letterboxed squares: only known formats, upright as viewers show them, in 8 bits."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor
from torchvision.ops import clip_boxes_to_image
from torchvision.transforms.v2 import functional as F

from nasedu.data.notes import shown
from nasedu.data.reading import SUFFIXES, plain, walk
from nasedu.errors import DataError

GREY = 114  # of 255: what fills the square beside an image that is not square
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM", "TIFF")  # what is decoded: no format that runs another program
PIXELS = 89_478_485  # the most of an image: a small file may claim to be a huge one
FULL = (255, 1023, 4095, 16383, 65535)  # white in images of 8 to 16 bits
# what makes photos of the orientations 2 to 8 upright
TURNS = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")
UNREADABLE = (  # what Pillow raises for what it cannot read
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, RuntimeError, MemoryError),
    *(ArithmeticError, struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning),
)


class Header(NamedTuple):
    """What an image file says of itself: (width, height) as stored, EXIF orientation 1 to 8, over 8 bits or not."""

    size: tuple[int, int]
    orientation: int
    deep: bool


@contextmanager
def opened(path: str | Path) -> Iterator[Image.Image]:
    """An image file of one of FORMATS, not decoded yet. Raises one of UNREADABLE."""
    plain(path)
    try:
        image = Image.open(path, formats=FORMATS)
    except UnidentifiedImageError:
        raise UnidentifiedImageError(f"it is no {', '.join(FORMATS[:-1])} or {FORMATS[-1]}") from None
    with image:
        if image.width * image.height > PIXELS:
            raise Image.DecompressionBombError(
                f"it has {image.width}x{image.height} pixels; at most {PIXELS:,} are read"
            )
        yield image


def header(image: Image.Image) -> Header:
    """What an opened image says of itself; a damaged orientation counts as none."""
    # of a PNG it may stand behind the pixels: that is not worth decoding them all
    late = image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys()
    try:
        orientation = None if late else image.getexif().get(ExifTags.Base.Orientation)
    except UNREADABLE:
        orientation = None
    orientation = orientation if isinstance(orientation, int) and orientation in range(2, 9) else 1
    size = (
        image.size if image.format != "TIFF" else upright_size(image.size, orientation)
    )  # Pillow has turned that back
    return Header(size, orientation, image.mode[0] == "I" or image.mode == "F")


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(width, height) of an image after it was turned upright, or from there back."""
    return size[::-1] if orientation >= 5 else size


def upright(image: Image.Image) -> Image.Image:
    """The picture as viewers show it: turned by its orientation, RGB of 8 bits. Raises one of UNREADABLE."""
    turn = header(image).orientation
    image.load()
    picture = _eight_bits(image) if header(image).deep else image
    return (
        picture.convert("RGB")
        if turn == 1 or image.format == "TIFF"
        else picture.convert("RGB").transpose(Image.Transpose[TURNS[turn - 2]])
    )


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey levels of 16 bits or floats: white is 1 for floats up to 1, else that of the fewest bits that hold them."""
    values = np.asarray(image).astype(np.float64)
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= FULL[-1]):  # also true of not-a-number
        raise ValueError(
            f"its grey levels reach from {low:g} to {high:g}; 0 to 1, or 0 to at most {FULL[-1]:,} are read"
        )
    white = next(white for white in ((1,) * (image.mode == "F") + FULL) if high <= white)
    return Image.fromarray((values * (255 / white)).round().astype(np.uint8))


def letterbox(boxes: Tensor, original: tuple[int, int], side: int) -> Tensor:
    """Boxes (n, 4) of an image in pixels of the square that `square` makes of it.

    boxes: x1 y1 x2 y2 in pixels of the image.
    original: (height, width) of the image.
    side: of the square in pixels.
    """
    scale, corner = _placement(original, side)
    return boxes * scale + corner


def unletterbox(boxes: Tensor, original: tuple[int, int], side: int) -> Tensor:
    """The way back: boxes (n, 4) of a square in pixels of its image, cut at the image's edges.

    boxes: x1 y1 x2 y2 in pixels of the square.
    original: (height, width) of the image.
    side: of the square in pixels.
    """
    scale, corner = _placement(original, side)
    return clip_boxes_to_image((boxes - corner) / scale, original)


def _placement(original: tuple[int, int], side: int) -> tuple[Tensor, Tensor]:
    """The scale and the upper left corner of an image in its square, both (4,) as boxes take them."""
    (height, width), (rows, columns) = original, _fitted(original, side)
    scale = torch.tensor([columns / width, rows / height])
    corner = torch.tensor([(side - columns) // 2, (side - rows) // 2])
    return scale.repeat(2), corner.repeat(2)


def square(image: Image.Image, side: int, original: tuple[int, int] | None = None) -> Tensor:
    """An upright image, scaled to fit a square and padded evenly with grey: uint8 (3, side, side).

    image: it may have been decoded at a reduced scale already.
    side: of the square in pixels.
    original: (height, width) of the file, which alone decide where it lands; None: the image's own.
    """
    rows, columns = _fitted(original or image.size[::-1], side)
    canvas = Image.new("RGB", (side, side), (GREY,) * 3)
    canvas.paste(image.resize((columns, rows), Image.Resampling.BILINEAR), ((side - columns) // 2, (side - rows) // 2))
    return F.pil_to_tensor(canvas)


def read_image(path: str | Path, side: int) -> Tensor:
    """An image file, upright, as a letterboxed square, uint8 (3, side, side). Raises one of UNREADABLE."""
    return read_square(path, side)[0]


def read_square(path: str | Path, side: int) -> tuple[Tensor, tuple[int, int]]:
    """As `read_image`, and the upright image's (height, width)."""
    with opened(path) as image:
        found = header(image)
        width, height = upright_size(found.size, found.orientation)
        image.draft("RGB", _fitted(found.size[::-1], side)[::-1])  # JPEG only: decode at 1/2, 1/4 or 1/8 where enough
        return square(upright(image), side, (height, width)), (height, width)


def read_squares(folder: str | Path, side: int, most: int) -> Tensor:
    """Images of a folder, and of those in it, as letterboxed squares, uint8 (n, 3, side, side).

    folder: without an order of its own; what cannot be read is passed over.
    side: of the squares in pixels.
    most: how many are read, evenly taken from all, in the order of their names.

    Raises `DataError` where there is none.
    """
    paths = sorted(path for path in walk(Path(folder)) if path.suffix.lower() in SUFFIXES)
    taken, squares = min(most, len(paths)), []
    for i in range(taken):
        with suppress(*UNREADABLE):
            squares.append(read_image(paths[i * len(paths) // taken], side))
    if not squares:
        raise DataError(f"{shown(folder, 60)} holds no image that can be read: {len(paths)} are named like one")
    return torch.stack(squares)


def _fitted(original: tuple[int, int], side: int) -> tuple[int, int]:
    """(height, width) after scaling the longer side to `side`."""
    return tuple(max(1, round(length * side / max(original))) for length in original)


def why(reason: Exception, what: str, fault: str) -> str:
    """Why a file is skipped: it is missing, or has the fault.

    reason: the exception.
    what: the file is.
    fault: what is said of a file that is there.
    """
    told = f"the {what} {fault} ({shown(reason, 140)})"
    return f"the {what} is missing" if isinstance(reason, FileNotFoundError) else told
