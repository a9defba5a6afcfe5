"""CIFAR-10 and CIFAR-100: the official archives, unpacked, or two small NumPy files.

The archives are pickles, which can run anything. So a file is opened only if its MD5 is the official one, as
torchvision knows it, and then nothing but plain values and arrays is made of it.
"""

from __future__ import annotations

import math
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100
from torchvision.datasets.utils import check_integrity

from nasedu.data import splits
from nasedu.errors import DataError, brief

OFFICIAL = {"cifar10": CIFAR10, "cifar100": CIFAR100}
NPZ_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
LARGEST, DEFLATED = 2 << 30, 1032  # bytes of an array in a NumPy file, and how many a byte of a zip can stand for
# Mean and standard deviation of the training images' pixels, from 0 to 1; and what Zen-NAS's public code takes for both
# sets (its DataLoader/__init__.py), as many papers do: the mean over images of an image's own deviation.
MEASURED = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}
PUBLISHED = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
# All that arrays are made of, under the names that NumPy 1 and 2 give it; the last is Python 3's way to write bytes.
HARMLESS = {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype}
HARMLESS |= {(f"numpy.{core}.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0] for core in ("core", "_core")}
HARMLESS |= {("_codecs", "encode"): lambda text, _encoding: text.encode("latin1")}


def read(name: str, split: str, places: list[Path]) -> tuple[Tensor, Tensor, list[str]]:
    """Images uint8 (N, 3, 32, 32), labels (N,) and classes of a split; validation is a fifth held out of training.

    name: "cifar10" or "cifar100".
    split: "train", "val" or "test".
    places: where the archive's folder may lie, or its files.

    Raises `DataError` for what is missing, damaged or not the official file.
    """
    official, npz = OFFICIAL[name], f"cifar10_{'test_1k' if split == 'test' else 'train_5k'}_uint8.npz"
    for folder in (each for place in places for each in (place / official.base_folder, place)):
        if os.path.isfile(folder / official.meta["filename"]):
            x, y, classes = _official(official, folder, split)
            break
        if name == "cifar10" and os.path.isfile(folder / npz):
            x, y, classes = *_read_npz(folder / npz), NPZ_CLASSES
            break
    else:
        small = f" or {npz}" if name == "cifar10" else ""
        raise DataError(f"there is no {official.base_folder}/{official.meta['filename']}{small} in {places[-1]}")
    if split == "test":
        return x, y, classes
    index = torch.tensor(splits.complete(range(len(y)), None, [])[split])
    return x[index], y[index], classes


def _official(official: type[CIFAR10], folder: Path, split: str) -> tuple[Tensor, Tensor, list[str]]:
    """The training or the test part of an unpacked archive."""
    classes = _unpickled(folder / official.meta["filename"], official.meta["md5"]).get(official.meta["key"], [])
    files = official.test_list if split == "test" else official.train_list
    images, labels = [], []
    for file, md5 in files:
        held = _unpickled(folder / file, md5)
        x, y = held.get("data"), held.get("labels", held.get("fine_labels"))
        sound = isinstance(x, np.ndarray) and x.dtype == np.uint8 and x.shape[1:] == (3072,) and isinstance(y, list)
        if not sound or len(x) != len(y) or not all(label in range(len(classes)) for label in y):
            raise DataError(f"{folder / file} must hold `data`, uint8 (N, 3072), and as many labels of known classes")
        images.append(x.reshape(-1, 3, 32, 32))
        labels += y
    return torch.from_numpy(np.concatenate(images)), torch.tensor(labels).long(), [str(c) for c in classes]


def _unpickled(path: Path, md5: str) -> dict:
    """The dictionary in one of an archive's files."""
    if not check_integrity(path, md5):
        fault = "is not the official file: its MD5 is another" if os.path.isfile(path) else "is missing"
        raise DataError(f"{path} {fault} (it should be {md5}); unpack the archive again")
    try:
        with open(path, "rb") as file:
            held = _Unpickler(file, encoding="latin1").load()
    except Exception as error:  # whatever a pickle raises
        raise DataError(f"{path} cannot be read: {error}") from None
    return held if isinstance(held, dict) else {}


class _Unpickler(pickle.Unpickler):
    """Makes plain values and arrays, and calls nothing else."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in HARMLESS:
            raise pickle.UnpicklingError(f"it asks for {module:.40}.{name:.40}, which no image needs")
        return HARMLESS[module, name]


def _read_npz(path: Path) -> tuple[Tensor, Tensor]:
    """x, uint8 (N, 32, 32, 3), as (N, 3, 32, 32), and y, int64 (N,) from 0 to 9. Raises `DataError`."""
    try:
        with zipfile.ZipFile(path) as archive:
            x, y = (_array(archive, name) for name in ("x.npy", "y.npy"))
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds
        raise DataError(f"cifar10 cannot be read from {path}: {error}") from None
    if x.dtype != np.uint8 or x.shape[1:] != (32, 32, 3) or y.shape != x.shape[:1] or not np.isin(y, range(10)).all():
        raise DataError(
            f"{path} must hold x, uint8 (N, 32, 32, 3), and y, (N,) from 0 to 9; "
            f"its x is {x.dtype} {x.shape} and its y {y.dtype} {y.shape}"
        )
    return torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(y.astype(np.int64))


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array, once its header has been seen to claim no more than there is. Raises what zipfile and NumPy raise."""
    size = archive.getinfo(name).file_size
    most = min(LARGEST, os.path.getsize(str(archive.filename)) * DEFLATED)
    with archive.open(name) as file:
        numbers = np.lib.format
        headers = {(1, 0): numbers.read_array_header_1_0, (2, 0): numbers.read_array_header_2_0}
        shape, _, dtype = headers[numbers.read_magic(file)](file)
        if dtype.hasobject or min(shape, default=0) < 0:
            raise ValueError(f"{name} holds {dtype} of shape {shape}")
        if math.prod(shape) * dtype.itemsize != size - file.tell() or size > most:
            raise ValueError(f"{name} claims the shape {brief(shape)}, which is not what the file holds")
    with archive.open(name) as file:
        return numbers.read_array(file, allow_pickle=False)
