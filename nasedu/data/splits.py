"""Which images are for training, validation and test where a data set does not say it itself.

A split belongs to the data set, not to a run: it is drawn with a fixed seed, so that two runs with different
seeds never train on each other's test images.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from nasedu.data.notes import Notes
from nasedu.randomness import rng

T = TypeVar("T")
NAMES = ("train", "val", "test")
WORDS = {  # how people call them, in any case, perhaps with a year behind
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
TRAIN, VAL = 0.7, 0.1  # of a set that comes as one list; the rest is for testing
HELD_OUT = 0.2  # of the training images, where no validation list exists


def shares(items: Sequence[T]) -> dict[str, list[T]]:
    """One list into 70 % train, 10 % val and 20 % test, at least one each of three; their order does not matter."""
    shuffled = _shuffled(items)
    val = max(round(len(shuffled) * VAL), int(len(shuffled) > 2))
    train = min(round(len(shuffled) * TRAIN), max(len(shuffled) - val - 1, 1))
    parts = shuffled[:train], shuffled[train : train + val], shuffled[train + val :]
    return dict(zip(NAMES, map(sorted, parts), strict=True))


def named(names: Iterable[str]) -> dict[str, str]:
    """Which of some names stand for a split, by the split; of several for one, the first."""
    found: dict[str, str] = {}
    for name in names:
        word = re.sub(r"(19|20)\d\d$", "", name.lower())
        part = next((part for part, words in WORDS.items() if word in words), None)
        if part:
            found.setdefault(part, name)
    return found


def complete(
    train: Sequence[T],
    val: Sequence[T] | None,
    test: Sequence[T] | None,
    notes: Notes | None = None,
    where: object = "",
) -> dict[str, list[T]]:
    """All three lists; of images in two of them, train keeps none.

    train: the training images.
    val: None, or all of the training images: a fifth held out of train.
    test: None: those of val; all of the training images: likewise.
    notes: what is taken out of train joins them; None: it goes without saying.
    where: the file or folder that the lists are of.
    """
    given, lists = set(train), {"val": val, "test": test}
    for part, items in lists.items():
        if items is not None and given and given <= set(items):
            lists[part] = None
            if notes is not None:
                told = f"{part} holds all training images, so it is drawn from train instead"
                notes.add("noted: a split that is the training set", where, told)
    val, test = lists["val"], lists["test"]
    both = given & {*(val or ()), *(test or ())}
    if both and notes is not None:
        told = f"{len(both)} of {len(given)} are in val or test as well, and are not trained on"
        notes.add("noted: training images of another split", where, told)
    if val is None:
        others = sorted(set(train) - set(test or ()))
        val = sorted(_shuffled(others)[: max(round(len(others) * HELD_OUT), int(len(others) > 1))])
    test = val if test is None else test
    taken = {*val, *test}
    return {"train": [item for item in train if item not in taken], "val": list(val), "test": list(test)}


def pick(items: Sequence[T], size: int | None, seed: int, split: str) -> list[T]:
    """Some of the items, in their own order.

    items: to draw from.
    size: how many at most; None: all.
    seed: of the draw.
    split: what they are of; each has draws of its own.
    """
    if size is None or size >= len(items):
        return list(items)
    chosen = np.argsort(rng(seed, "subset", split).random(len(items)))[:size]
    return [items[i] for i in sorted(chosen)]


def by_class(labels: np.ndarray, start: float, end: float) -> np.ndarray:
    """Which images (n,) lie between two shares, from 0 to 1, of each of the ten classes of `labels` (N,).

    labels: the classes, 0 to 9.
    start: the first share.
    end: the second.
    """
    order = _order(len(labels))
    own = (order[labels[order] == label] for label in range(10))
    return np.concatenate([each[round(len(each) * start) : round(len(each) * end)] for each in own])


def _shuffled(items: Sequence[T]) -> list[T]:
    ordered = sorted(set(items))
    return [ordered[i] for i in _order(len(ordered))]


def _order(count: int) -> np.ndarray:
    """A shuffle of so many, never with another seed: a split is the data set's."""
    return np.argsort(np.random.Generator(np.random.PCG64(0)).random(count))
