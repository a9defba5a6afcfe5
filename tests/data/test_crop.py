"""Random crops fall as torchvision's do, come from the whole picture, and depend on nothing but their seed."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from nasedu.classification import batches
from nasedu.data import ImageSet, classification
from nasedu.data.crop import RandomCrop
from nasedu.data.folder import MEAN, STD
from nasedu.errors import ParameterError, UnknownName


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("height", "width"), [(375, 500), (60, 300)])
def test_areas_shapes_and_places_are_distributed_as_torchvisions(height, width):
    """The long picture is one where many draws stick out, and some end in the middle."""
    n, generator, image = 3000, drawn(), torch.zeros(3, height, width)
    torch.manual_seed(0)
    theirs = v2.RandomResizedCrop(8)
    wanted = np.array([list(theirs.make_params([image]).values()) for _ in range(n)])  # top, left, height, width
    found = np.array([RandomCrop().box(height, width, generator) for _ in range(n)])
    for statistic in (
        lambda box: box[:, 2] * box[:, 3],
        lambda box: box[:, 3] / box[:, 2],
        lambda box: box[:, 0],
        lambda box: box[:, 1],
    ):
        assert ks_2samp(statistic(wanted), statistic(found)).pvalue > 1e-3
    assert (found[:, 0] + found[:, 2] <= height).all() and (found[:, 1] + found[:, 3] <= width).all()


def test_what_never_fits_is_the_middle():
    assert RandomCrop().box(10, 1000, drawn()) == (0, 493, 10, 13)
    assert RandomCrop().box(1000, 9, drawn()) == (494, 0, 12, 9)
    assert RandomCrop((1.0, 1.0), (1.0, 1.0)).box(20, 20, drawn()) == (0, 0, 20, 20)


@pytest.fixture
def root(tmp_path):
    """Wide pictures, red on the left and blue on the right, beyond the middle square with its green lines."""
    for part, count in (("train", 6), ("val", 2)):
        (tmp_path / part / "a").mkdir(parents=True)
        wide = np.zeros((40, 120, 3), np.uint8)
        wide[:, :40, 0], wide[:, 80:, 2] = 255, 255
        wide[::3, 40:80, 1] = 200
        for i in range(count):
            Image.fromarray(wide).save(tmp_path / part / "a" / f"{i}.png")
    return tmp_path


def colours(x: torch.Tensor) -> torch.Tensor:
    """The mean red and blue of images, 0 to 1."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))
    return (x * std + mean).mean((2, 3))[:, [0, 2]]


def test_streamed_files_are_cut_from_the_whole_picture(root):
    streamed = classification("folder", "train", root=root, image_size=16, stream=True)
    held = classification("folder", "train", root=root, image_size=16)
    assert torch.equal(streamed.images[:], held.images), "without a crop both are the middles"
    seen = {}
    for name, images in (("streamed", streamed), ("held", held)):
        made = batches(images, 4, seed=1, crop=RandomCrop((0.2, 0.5)))
        again = batches(images, 4, seed=1, crop=RandomCrop((0.2, 0.5)))
        x = torch.cat([torch.cat([b for b, _ in made(epoch)]) for epoch in range(20)])
        assert torch.equal(x[:4], next(iter(again(0)))[0]) and not torch.equal(x[:4], x[4:8])
        seen[name] = colours(x)
    assert seen["streamed"].amax() > 0.6 and seen["held"].amax() < 0.2


def test_a_crop_of_a_file_is_torchvisions(root):
    images = classification("folder", "train", root=root, image_size=16, stream=True)
    crop, generator = RandomCrop(), drawn(5)
    (x, _), *_ = images.parts(3, crop=crop, generator=generator)
    seeds = torch.randint(2**63 - 1, (3,), generator=drawn(5))
    for image, cut, i in zip(x, crop.cuts(seeds), range(3), strict=True):
        picture = Image.open(root / "train" / "a" / f"{images.images.index[i]}.png")
        wanted = F.resized_crop(picture, *cut(40, 120), [16, 16], v2.InterpolationMode.BILINEAR)
        wanted = F.normalize(F.to_dtype(F.pil_to_tensor(wanted), torch.float32, scale=True), [*MEAN], [*STD])
        torch.testing.assert_close(image, wanted)


def test_the_middle_may_be_scaled_by_cubes(root):
    read = partial(classification, "folder", "test", root=root, image_size=16)
    linear, cubic = (read(scaling=scaling) for scaling in ("bilinear", "bicubic"))
    assert not torch.equal(linear.images, cubic.images)
    picture = F.center_crop(
        F.resize(Image.open(root / "val" / "a" / "0.png"), [18], v2.InterpolationMode.BICUBIC), [16, 16]
    )
    wanted = F.normalize(F.to_dtype(F.pil_to_tensor(picture), torch.float32, scale=True), [*MEAN], [*STD])
    torch.testing.assert_close(cubic.images[0], wanted)
    with pytest.raises(UnknownName, match="did you mean 'bicubic'"):
        classification("folder", "test", root=root, scaling="bicubc")
    with pytest.raises(ParameterError, match="stream=False"):
        classification("folder", "test", root=root, stream=True, noise=0.1)


def test_what_is_in_memory_is_cut_there():
    x = torch.arange(2 * 3 * 64.0).view(2, 3, 8, 8)
    images = ImageSet("digits", "train", ["a"], x, torch.zeros(2, dtype=torch.long))
    whole = RandomCrop((1.0, 1.0), (1.0, 1.0))
    ((same, _),) = images.parts(2, crop=whole, generator=drawn())
    torch.testing.assert_close(same, x)
    ((other, _),) = images.parts(2, crop=RandomCrop((0.3, 0.6)), generator=drawn())
    assert other.shape == x.shape and not torch.equal(other, x)


def test_bad_crops_are_named():
    for wrong in ({"scale": (0.5, 0.1)}, {"scale": (0.0, 1.0)}, {"scale": (0.5, 1.5)}, {"ratio": (2.0, 1.0)}):
        with pytest.raises(ParameterError, match=f"{next(iter(wrong))} of a crop"):
            RandomCrop(**wrong)
