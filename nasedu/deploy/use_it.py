"""See what an exported detector sees, with NumPy, Pillow and ONNX Runtime alone.

    python use_it.py detector.onnx photo.jpg

The file says of itself how it is used. Copy this script, and change it as you like.
"""

import json
import sys

import numpy as np
from PIL import Image, ImageOps


def suppress(boxes, scores, confidence=0.3, iou=0.45, most=300):
    """Boxes (n, 4), scores (n,) and classes (n,), best first; of a class, no two overlap by more than `iou`.

    boxes: (places, 4), x1 y1 x2 y2.
    scores: (places, classes).
    confidence: the score that is exceeded.
    iou: from 0 to 1.
    most: how many stay.
    """
    labels, best = scores.argmax(1), scores.max(1)
    left, kept = [i for i in np.argsort(-best, kind="stable") if best[i] > confidence], []
    while left and len(kept) < most:
        first, *left = left
        kept.append(first)
        sides = np.minimum(boxes[left, 2:], boxes[first, 2:]) - np.maximum(boxes[left, :2], boxes[first, :2])
        shared, areas = sides.clip(0).prod(1), (boxes[:, 2:] - boxes[:, :2]).prod(1)
        over = shared > iou * (areas[left] + areas[first] - shared)
        left = [i for i, near in zip(left, over, strict=True) if not (near and labels[i] == labels[first])]
    return boxes[kept], best[kept], labels[kept]


def letterboxed(picture, side, grey):
    """A photograph as (3, side, side) from 0 to 1; its own size, the size that it has inside, and its corner there.

    picture: a file.
    side: of the square in pixels.
    grey: what fills the rest, of 255.
    """
    image = Image.open(picture)
    original = image.size
    fitted = [max(1, round(length * side / max(original))) for length in original]
    image.draft("RGB", fitted)  # JPEG: decoded no finer than needed
    decoded, image = image.size, ImageOps.exif_transpose(image)
    turn = -1 if image.size != decoded else 1  # by a quarter
    if image.mode[0] in "IF":  # grey of 16 bits, or numbers: white is that of the fewest bits that hold them
        values = np.asarray(image).astype(float)
        white = next(w for w in (1,) * (image.mode == "F") + (255, 1023, 4095, 16383, 65535) if values.max() <= w)
        image = Image.fromarray((values * (255 / white)).round().astype(np.uint8))
    size, inner = np.array(original[::turn]), np.array(fitted[::turn])
    corner = (side - inner) // 2
    square = Image.new("RGB", (side, side), (grey,) * 3)
    scaled = image.convert("RGB").resize(tuple(inner.tolist()), Image.Resampling.BILINEAR)
    square.paste(scaled, tuple(corner.tolist()))
    return np.asarray(square, np.float32).transpose(2, 0, 1) / 255, size, inner, corner


def see(model, picture):
    """Class, score and box (left, top, right, bottom in pixels of the picture) of every object, best first.

    model: the ONNX file.
    picture: a photograph.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    about = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    pixels, size, inner, corner = letterboxed(picture, about["input"]["size"][0], about["input"]["letterbox"]["grey"])
    boxes, scores, *labels = session.run(None, {"image": pixels[None]})
    boxes, scores, labels = (boxes, scores, *labels) if labels else suppress(boxes[0], scores[0])
    boxes = ((boxes - np.tile(corner, 2)) / np.tile(inner / size, 2)).clip(0, np.tile(size, 2))
    inside = (boxes[:, 2:] > boxes[:, :2]).all(1)  # not in the grey
    found = zip(labels[inside], scores[inside], boxes[inside].tolist(), strict=True)
    return [(about["classes"][label], score, box) for label, score, box in found]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("python use_it.py detector.onnx photo.jpg")
    for name, score, box in see(*sys.argv[1:]):
        print(f"{name}\t{score:.4f}\t" + " ".join(f"{v:.3f}" for v in box))
