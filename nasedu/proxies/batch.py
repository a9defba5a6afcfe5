"""The one batch of images, and perhaps labels, that a proxy may look at."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nasedu.errors import ParameterError


@dataclass(frozen=True)
class Batch:
    """`images` (B, C, H, W), floating point, and `labels` (B,), whole numbers from 0, or None.

    Raises `ParameterError` for other shapes or types, and for images that are not finite.
    """

    images: Tensor
    labels: Tensor | None = None

    def __post_init__(self):
        x, y = self.images, self.labels
        if not isinstance(x, Tensor) or x.ndim != 4 or not x.is_floating_point() or not len(x):
            got = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise ParameterError(f"a batch's images must be a floating-point tensor (B, C, H, W), got {got}")
        if not torch.isfinite(x).all():
            raise ParameterError("a batch's images must be finite, some of their values are infinite or NaN")
        if y is None:
            return
        if not isinstance(y, Tensor) or y.shape != x.shape[:1] or y.is_floating_point() or y.is_complex():
            got = f"{y.dtype} of shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
            raise ParameterError(f"a batch of {len(x)} images needs as many whole-number labels ({len(x)},), got {got}")
        if y.min() < 0:
            raise ParameterError(f"labels count from 0, got {int(y.min())}")

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Batch:
        """The same batch on a device, the images in another precision, fit for autograd."""
        with torch.inference_mode(False):
            images = self.images.to(device, dtype or self.images.dtype)
            labels = None if self.labels is None else self.labels.to(device)
            fit = [x.clone() if x is not None and x.is_inference() else x for x in (images, labels)]
        return Batch(*fit)

    def take(self, index: Tensor | slice) -> Batch:
        """Some of the images with their labels: a slice, or indices (M,)."""
        return Batch(self.images[index], None if self.labels is None else self.labels[index])


def as_batch(batch: Batch | Tensor | tuple[Tensor, Tensor]) -> Batch:
    """A `Batch` from images alone or from a pair of images and labels. Raises `ParameterError`."""
    if isinstance(batch, Batch):
        return batch
    if isinstance(batch, Tensor):
        return Batch(batch)
    if isinstance(batch, tuple | list) and len(batch) == 2:
        return Batch(*batch)
    raise ParameterError(f"a batch is images, or a pair of images and labels, got {type(batch).__name__}")
