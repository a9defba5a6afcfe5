"""See what an exported detector sees, with NumPy, Pillow and ONNX Runtime alone.

    python use_it.py detector.onnx photo.jpg

The file says of itself how it is used. Copy this script, and change it as you like.
"""

import json
import sys

import numpy as np
from PIL import Image, ImageOps


def suppress(boxes, scores, confidence=0.3, iou=0.45):
    """Boxes (n, 4), scores (n,) and classes (n,), best first; of a class, no two overlap by more than `iou`.

    boxes: (places, 4), x1 y1 x2 y2.
    scores: (places, classes).
    confidence: the score that is exceeded.
    iou: from 0 to 1.
    """
    labels, best = scores.argmax(1), scores.max(1)
    left, kept = [i for i in np.argsort(-best, kind="stable") if best[i] > confidence], []
    while left:
        first, *left = left
        kept.append(first)
        sides = np.minimum(boxes[left, 2:], boxes[first, 2:]) - np.maximum(boxes[left, :2], boxes[first, :2])
        shared, areas = sides.clip(0).prod(1), (boxes[:, 2:] - boxes[:, :2]).prod(1)
        over = shared > iou * (areas[left] + areas[first] - shared)
        left = [i for i, near in zip(left, over, strict=True) if not (near and labels[i] == labels[first])]
    return boxes[kept], best[kept], labels[kept]


def see(model, picture):
    """Class, score and box (left, top, right, bottom in pixels of the picture) of every object, best first.

    model: the ONNX file.
    picture: a photograph.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    about = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    side, grey = about["input"]["size"][0], about["input"]["letterbox"]["grey"]
    image = Image.open(picture)
    size, turned = np.array(image.size), image.getexif().get(0x0112, 1) in (5, 6, 7, 8)  # turned by a quarter
    inner = np.maximum(1, np.round(size * side / size.max())).astype(int)
    image.draft("RGB", tuple(inner.tolist()))  # JPEG: decoded no finer than needed
    image = ImageOps.exif_transpose(image).convert("RGB")
    size, inner = (size[::-1], inner[::-1]) if turned else (size, inner)
    corner = (side - inner) // 2
    square = Image.new("RGB", (side, side), (grey,) * 3)
    square.paste(image.resize(tuple(inner.tolist()), Image.Resampling.BILINEAR), tuple(corner.tolist()))
    pixels = np.asarray(square, np.float32).transpose(2, 0, 1)[None] / 255
    boxes, scores, *labels = session.run(None, {"image": pixels})
    boxes, scores, labels = (boxes, scores, *labels) if labels else suppress(boxes[0], scores[0])
    boxes = ((boxes - np.tile(corner, 2)) / np.tile(inner / size, 2)).clip(0, np.tile(size, 2))
    inside = (boxes[:, 2:] > boxes[:, :2]).all(1)  # not in the grey
    found = zip(labels[inside], scores[inside], boxes[inside].tolist(), strict=True)
    return [(about["classes"][label], score, box) for label, score, box in found]


if __name__ == "__main__":
    for name, score, box in see(*sys.argv[1:3]):
        print(f"{name}\t{score:.4f}\t" + " ".join(f"{v:.3f}" for v in box))
