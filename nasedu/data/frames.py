"""Which pixels the boxes of an image are measured in, told by the size that its annotation states.

The image may have been shrunk after it was annotated, and a photograph that is stored on its side may have been
annotated as it is stored or upright, as viewers show it. Where nothing tells, or both are of one size, boxes are taken
to be those of the upright photograph.
"""

from __future__ import annotations

from collections.abc import Sequence

from nasedu.data.images import Header, upright_size

Box = tuple[float, float, float, float]
Size = tuple[float, float]
SHARES: Size = (1.0, 1.0)  # the stated size of boxes that are shares of the upright image
ASSUMED = "noted: boxes taken to be those of the upright photo"
SCALED = "repaired: boxes scaled, since the image was after it was annotated"
STATED = "noted: a stated size that is wrong, since the boxes reach beyond it"
TURNED = "repaired: boxes turned upright with their photo"


def placed(
    boxes: Sequence[Box], stated: Size | None, image: Header, trusted: bool = True
) -> tuple[list[Box], list[tuple[str, str]]]:
    """Boxes in pixels of the upright image, and the kind and the text of each thing that was done or assumed.

    Raises ValueError where the stated size is of another shape than the image.

    boxes: corners (x1, y1, x2, y2) as the annotation has them.
    stated: (width, height) that the annotation gives of the image; None: it gives none.
    image: what the file says.
    trusted: False where another image of the set shows that this stated size is copied from somewhere; see `beyond`.
    """
    stands = upright_size(image.size, image.orientation)
    if stated == SHARES:
        return [_scaled(box, stands) for box in boxes], []
    frame, done, boxes = _frame(stated, stands, image.size), [], list(boxes)
    if stated and max(abs(a - b) for a, b in zip(stated, frame, strict=True)) > 1:
        told = f"its annotation states {_told(stated)} px, but it has {_told(frame)}"
        wrong = (not _fit(boxes, stated) or not trusted) and _fit(boxes, frame)
        done.append((STATED if wrong else SCALED, told))
        factors = frame[0] / stated[0], frame[1] / stated[1]
        boxes = boxes if wrong else [_scaled(box, factors) for box in boxes]
    if frame != stands:
        boxes = [_turned(box, image) for box in boxes]
        done.append((TURNED, "its annotation is of the photo as it is stored, on its side"))
    elif image.orientation > 1 and boxes and (not stated or image.orientation < 5 or image.size == stands):
        done.append((ASSUMED, "the annotation does not tell whether it is of the photo as stored or upright"))
    return boxes, done if boxes else []


def beyond(boxes: Sequence[Box], stated: Size | None, image: Header) -> bool:
    """Whether boxes show that a stated size is wrong: they reach beyond it, but not beyond the image.

    boxes: as the annotation has them.
    stated: as in `placed`.
    image: what the file says.
    """
    if not stated or stated == SHARES or stated in (image.size, upright_size(image.size, image.orientation)):
        return False
    return not _fit(boxes, stated) and _fit(boxes, upright_size(image.size, image.orientation))


def _frame(stated: Size | None, upright: Size, stored: Size) -> Size:
    """The size that is meant: that which is equal, else of the same shape, the upright one first."""
    if not stated or stated == upright:
        return upright
    alike = [size for size in (upright, stored) if _alike(stated, size)]
    if not alike:
        raise ValueError(f"its annotation states {_told(stated)} px, but it has {_told(upright)}: another shape")
    return stated if stated == stored else alike[0]


def _alike(stated: Size, size: Size) -> bool:
    """Whether one size is the other but for a factor, and for rounding to whole pixels."""
    factor = max(size) / max(stated)
    return all(abs(factor * a - b) <= max(1, factor) for a, b in zip(stated, size, strict=True))


def _fit(boxes: Sequence[Box], size: Size) -> bool:
    return all(max(box[0::2]) <= size[0] + 2 and max(box[1::2]) <= size[1] + 2 for box in boxes)


def _scaled(box: Box, factors: Size) -> Box:
    return box[0] * factors[0], box[1] * factors[1], box[2] * factors[0], box[3] * factors[1]


def _turned(box: Box, image: Header) -> Box:
    """A box of a photo that is stored on its side (orientations 5 to 8), after the photo was turned upright."""
    (width, height), (x1, y1, x2, y2) = image.size, box
    across = (height - y2, height - y1) if image.orientation in (6, 7) else (y1, y2)
    down = (width - x2, width - x1) if image.orientation in (7, 8) else (x1, x2)
    return across[0], down[0], across[1], down[1]


def _told(size: Size) -> str:
    return f"{size[0]:g}x{size[1]:g}"
