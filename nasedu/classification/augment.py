"""Augmentation of a batch that is already normalised, drawn from a generator of one's own.

torchvision's transforms draw from the global random state. `from_torchvision` lends it to them for as long as one batch
takes, started from the caller's generator, and then puts it back; threads that train side by side wait for one another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from nasedu.data import ImageSet
from nasedu.errors import ParameterError, check_name, check_number
from nasedu.randomness import seeded

Augment = Callable[[Tensor, torch.Generator], Tensor]
Mix = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]

POLICIES = {policy.value: policy for policy in v2.AutoAugmentPolicy}
# What suits a set: AutoAugment's policy, what fills emptied corners, mirror images or not. Digits: the policy found for
# house numbers, on the digits' own black ground. CIFAR-100: the one found for CIFAR-10, as its authors use it.
SETS = dict.fromkeys(("cifar10", "cifar100"), ("cifar10", 128, True))
SETS |= dict.fromkeys(("folder", "imagenet"), ("imagenet", 128, True)) | {"digits": ("svhn", 0, False)}


# Eigenvalues and eigenvectors (columns) of the colours of ImageNet's pixels, 0 to 1, as public trainings share them.
PCA_VALUES = (0.2175, 0.0188, 0.0045)
PCA_VECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


@dataclass(frozen=True)
class Augmentation:
    """What a recipe does to training images, in the order of the fields. Raises `ParameterError`, `UnknownName`.

    crop: "padded" moves an image by up to an eighth of its side, as CIFAR is trained; "resized" takes a `RandomCrop`,
        as ImageNet is; "none".
    flip: whether half of the images are mirrored, but never digits.
    policy: AutoAugment's, "set" is the one that suits the image set, "none".
    lighting: the standard deviation of `lighting`.
    erasing: the probability of `random_erasing`.
    mixup: alpha of `mixup`; 0 mixes nothing.
    """

    crop: str = "padded"
    flip: bool = True
    policy: str = "none"
    lighting: float = 0.0
    erasing: float = 0.0
    mixup: float = 0.0

    def __post_init__(self):
        check_name("crop", self.crop, ("padded", "resized", "none"))
        check_name("AutoAugment policy", self.policy, ("set", "none", *POLICIES))
        check_number("lighting", self.lighting)
        check_number("erasing", self.erasing, most=1)
        check_number("mixup", self.mixup)

    def of(self, images: ImageSet) -> Augment:
        """All but the resized crop and mixup, for `batches(..., augment=)`. Raises `UnknownName` for an unknown set."""
        policy, fill, mirrors = SETS[check_name("image set", images.name, SETS)]
        policy = policy if self.policy == "set" else self.policy
        steps, flips = [], self.flip and mirrors
        if self.crop == "padded" or flips:
            padding = images.images.shape[-1] // 8 if self.crop == "padded" else 0
            steps.append(crop_and_flip(padding, flips))
        if policy != "none":
            steps.append(auto_augment(policy, mean=images.mean, std=images.std, fill=fill))
        if self.lighting:
            steps.append(lighting(images.std, self.lighting))
        if self.erasing:
            steps.append(random_erasing(self.erasing))
        return in_turn(*steps)


def in_turn(*augments: Augment) -> Augment:
    """One augmentation after the other."""

    def augment(x: Tensor, generator: torch.Generator) -> Tensor:
        for each in augments:
            x = each(x, generator)
        return x

    return augment


def crop_and_flip(padding: int = 4, flip: bool = True) -> Augment:
    """CIFAR's usual augmentation: a random crop of the image padded with zeros, and a mirror image half of the time.

    A mirrored digit is another sign: set `flip` to False for digits.
    """

    def augment(x: Tensor, generator: torch.Generator) -> Tensor:
        """Images (B, C, H, W), each cropped, and mirrored or not, by a draw of its own."""
        n, _, height, width = x.shape
        top, left = torch.randint(2 * padding + 1, (2, n, 1), generator=generator).to(x.device)
        rows = top + torch.arange(height, device=x.device)
        columns = left + torch.arange(width, device=x.device)
        if flip:
            mirrored = (torch.rand(n, 1, generator=generator) < 0.5).to(x.device)
            columns = torch.where(mirrored, columns.flip(1), columns)
        padded = F.pad(x, (padding,) * 4)
        each = torch.arange(n, device=x.device)[:, None, None]
        return padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()

    return augment


def from_torchvision(transform: Callable[[Tensor], Tensor]) -> Augment:
    """Any transform of `torchvision.transforms.v2`, applied to each image (C, H, W) of a batch by draws of its own.

    The transform must keep the image's size. It must draw from the CPU: random values made on an accelerator would not
    follow the generator.
    """

    def augment(x: Tensor, generator: torch.Generator) -> Tensor:
        with seeded(_drawn(generator)):
            return torch.stack([transform(image) for image in x])

    return augment


def auto_augment(
    policy: str = "cifar10",
    *,
    mean: float | Sequence[float],
    std: float | Sequence[float],
    fill: int = 128,
) -> Augment:
    """AutoAugment (Cubuk et al. 2019) of normalised images (B, 3, H, W): one of a policy's 25 pairs of operations each.

    The operations are defined on 8-bit pixels, so an image is taken back to 0..255, rounded, changed and normalised
    again; one that no operation changed comes back to the last bit. Values outside of 0..255, such as added noise, are
    cut off in changed images. No policy mirrors an image. Raises `UnknownName`, `ParameterError`.

        policy: "cifar10", "svhn" or "imagenet".
        mean: with which the images were normalised, of pixels 0 to 1.
        std: likewise.
        fill: what turning and moving uncover, 0..255; 128 in Zen-NAS's public training.
    """
    kind = POLICIES[check_name("AutoAugment policy", policy, POLICIES)]
    shift, scale = (torch.as_tensor(v, dtype=torch.float32).reshape(-1, 1, 1) for v in (mean, std))
    if not (scale > 0).all() or not 0 <= fill <= 255:
        raise ParameterError(f"AutoAugment needs std above 0 and fill from 0 to 255, got {std} and {fill}")
    each = from_torchvision(v2.AutoAugment(kind, fill=fill))

    def augment(x: Tensor, generator: torch.Generator) -> Tensor:
        """Normalised images (B, 3, H, W) to the same."""
        m, s = shift.to(x), scale.to(x)
        pixels = ((x * s + m) * 255).round().clamp(0, 255).to(torch.uint8)
        drawn = each(pixels, generator)
        changed = (drawn != pixels).flatten(1).any(1)[:, None, None, None]
        return torch.where(changed, (drawn.to(x) / 255 - m) / s, x)

    return augment


def random_erasing(p: float = 0.5, scale: tuple[float, float] = (0.02, 0.33)) -> Augment:
    """A rectangle of a share `scale` of the image becomes 0, the normalised mean, with probability `p` (Zhong 2020).

    Raises `ParameterError`.
    """
    if not 0 <= p <= 1 or not 0 <= scale[0] <= scale[1] <= 1:
        raise ParameterError(f"erasing needs 0 <= p <= 1 and a share from 0 to 1, got p={p} and scale={scale}")
    return from_torchvision(v2.RandomErasing(p, scale))


def lighting(std: Sequence[float], deviation: float = 0.1) -> Augment:
    """Another light for every image, along the axes in which colours vary (Krizhevsky et al. 2012, section 4.1).

    Pixels from 0 to 1 get sum_i a_i v_i p_i with eigenvalues v and eigenvectors p of ImageNet's colours, a from N(0,
    deviation^2), drawn once for an image.

    std: with which the images (B, 3, H, W) were normalised.
    deviation: .1 in the paper and in Zen-NAS's public training.
    """
    axes = torch.tensor(PCA_VECTORS) * torch.tensor(PCA_VALUES)

    def augment(x: Tensor, generator: torch.Generator) -> Tensor:
        """Normalised images (B, 3, H, W) to the same."""
        drawn = deviation * torch.randn(len(x), 3, generator=generator)
        shift = drawn @ axes.T / torch.as_tensor(std, dtype=torch.float32)
        return x + shift.to(x)[:, :, None, None]

    return augment


def published_augment(images: ImageSet) -> Augment:
    """What Zen-NAS's public CIFAR training does to an image: crop, mirror, AutoAugment, erase.

    The crop moves by up to an eighth of the side, 4 of 32 pixels. Digits are not mirrored and follow the policy found
    for house numbers. Mixup is apart, since it changes labels too. Raises `UnknownName` for a set not known here: put
    one together with `in_turn`.
    """
    return Augmentation(policy="set", erasing=0.5).of(images)


def mixup(classes: int, alpha: float = 0.2) -> Mix:
    """Mixup (Zhang et al. 2018) for `batches(..., mix=)`: x (B, C, H, W) and y (B,) to mixtures x and y (B, classes).

    Each image is mixed with a neighbour in its shuffled batch, all with one share, drawn from Beta(alpha, alpha).
    Raises `ParameterError`.
    """
    if classes < 1 or not alpha > 0:
        raise ParameterError(f"mixup needs at least 1 class and alpha above 0, got {classes} and {alpha}")
    transform = v2.MixUp(alpha=alpha, num_classes=classes)

    def mix(x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The mixed images and the shares of their labels."""
        if y.ndim == 1 and not 0 <= int(y.min()) <= int(y.max()) < classes:
            raise ParameterError(f"mixup of {classes} classes got labels from {int(y.min())} to {int(y.max())}")
        with seeded(_drawn(generator)):
            return transform(x, y)

    return mix


def _drawn(generator: torch.Generator) -> int:
    """A seed for the global random state, drawn from the caller's generator."""
    return int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device))
