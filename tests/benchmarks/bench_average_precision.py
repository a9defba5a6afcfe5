"""Average precision at the size of COCO's validation set: 5,000 images, 80 classes, 36,000 detections.

Both backends and the VOC curves alone, in one run.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from nasedu.detection import evaluate
from nasedu.detection.average_precision import columns, default_backend, precision_recall

IMAGES, CLASSES, OBJECTS, DETECTIONS = 5_000, 80, 36_000, 36_000


def crowd(seed: int = 0) -> tuple[list[dict], list[dict]]:
    """Truths and detections, most of them a shifted object with its class."""
    rng = np.random.default_rng(seed)
    image = np.sort(rng.integers(IMAGES, size=OBJECTS))
    corner = rng.uniform(0, 500, (OBJECTS, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(8, 140, (OBJECTS, 2))], axis=1)
    labels = rng.integers(CLASSES, size=OBJECTS)
    chosen = np.sort(rng.integers(OBJECTS, size=DETECTIONS))
    moved = boxes[chosen] + rng.normal(0, 6, (DETECTIONS, 1))
    seen = np.where(rng.random(DETECTIONS) < 0.8, labels[chosen], rng.integers(CLASSES, size=DETECTIONS))
    score = rng.random(DETECTIONS).round(3)  # ties as well
    truths, found = [], []
    for number in range(IMAGES):
        mine, theirs = image == number, image[chosen] == number
        truths.append({"boxes": torch.tensor(boxes[mine]), "labels": torch.tensor(labels[mine])})
        found.append({"boxes": torch.tensor(moved[theirs]), "labels": torch.tensor(seen[theirs])})
        found[-1]["scores"] = torch.tensor(score[theirs])
    return truths, found


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def test_average_precision():
    truths, found = crowd()
    print(f"\n{IMAGES:,} images, {CLASSES} classes, {DETECTIONS:,} detections")
    print(f"  VOC curves alone   {seconds(lambda: precision_recall(columns(truths), columns(found), CLASSES)):6.2f} s")
    results = {}
    for backend in ("pycocotools", default_backend()):

        def work(backend=backend):
            results[backend] = evaluate(truths, found, backend=backend)

        print(f"  all, {backend:12}  {seconds(work):6.2f} s")
    one, *others = (np.array([list(scores.values()) for scores in r.per_class.values()]) for r in results.values())
    assert all(np.allclose(one, other, rtol=0, atol=1e-14, equal_nan=True) for other in others)


if __name__ == "__main__":
    test_average_precision()
