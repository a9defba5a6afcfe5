"""AZ-NAS's three looks: each written out plainly, and which blocks they look at."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from nasedu import spaces
from nasedu.errors import ProxyError, UnknownName
from nasedu.proxies import score, score_all
from nasedu.proxies.az_nas import cross_covariance, fold, largest_singular, spectral_entropy
from nasedu.proxies.units import run_units

PARTS = ("az_expressivity", "az_progressivity", "az_trainability")


class Block(nn.Sequential):
    """One block: no plain container."""

    def __init__(self, c_in: int, c_out: int, stride: int = 1):
        super().__init__(nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU())


def network() -> nn.Sequential:
    torch.manual_seed(0)
    blocks = nn.Sequential(Block(4, 6), Block(6, 8, 2))
    return nn.Sequential(Block(3, 4), blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


def images(n: int = 4) -> torch.Tensor:
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def maps(model: nn.Sequential, x: torch.Tensor) -> list[torch.Tensor]:
    first = model.train()[0](x)
    second = model[1][0](first)
    return [first, second, model[1][1](second)]


def textbook_entropy(features: torch.Tensor) -> float:
    samples = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
    values = torch.linalg.eigvalsh(torch.cov(samples.T, correction=0).double())
    p = values / values.sum()
    return float(-(p * torch.log(p + 1e-8)).sum())


def test_expressivity_and_progressivity_are_the_definition():
    given = {"weights": "given", "inputs": "images"}
    with torch.no_grad():
        found = [textbook_entropy(m) for m in maps(network(), images())]
    assert score("az_expressivity", network(), images(), **given) == pytest.approx(sum(found), rel=1e-4)
    least = min(found[1] - found[0], found[2] - found[1])
    assert score("az_progressivity", network(), images(), **given) == pytest.approx(least, abs=1e-4)


def test_trainability_is_the_definition():
    model, x = network(), images()
    generator, scores = torch.Generator().manual_seed(7), []
    outputs = maps(model, x)
    for before, after in zip(outputs, outputs[1:], strict=False):
        signs = torch.randint(0, 2, after.shape, generator=generator) * 2.0 - 1
        (reached,) = torch.autograd.grad(after, before, signs, retain_graph=True)
        reached = nn.PixelUnshuffle(before.shape[2] // after.shape[2])(reached)
        rows = [g.permute(0, 2, 3, 1).flatten(0, 2) for g in (reached, signs)]
        product = sum(torch.outer(a, b) for a, b in zip(*rows, strict=True)) / len(rows[0])
        s = float(torch.linalg.svdvals(product)[0])
        scores.append(2 - s - 1 / (s + 1e-6))
    value = score(
        "az_trainability", network(), x, weights="given", inputs="images", generator=torch.Generator().manual_seed(7)
    )
    assert value == pytest.approx(sum(scores) / len(scores), rel=1e-4)


def test_entropy_is_ln_of_the_rank_for_equal_directions_and_minus_infinity_for_a_constant():
    basis = torch.eye(4).repeat(1, 2) * torch.tensor([1.0] * 4 + [-1.0] * 4)  # (channels 4, samples 8)
    features = basis.T.reshape(8, 4, 1, 1)
    assert spectral_entropy(features) == pytest.approx(math.log(4), abs=1e-6)
    assert spectral_entropy(features * 100 + 5) == pytest.approx(math.log(4), abs=1e-6)
    assert spectral_entropy(features[:, :1].expand(-1, 4, -1, -1)) == pytest.approx(0, abs=1e-5)
    assert spectral_entropy(torch.ones(2, 3, 4, 4)) == -math.inf


def test_fold_is_pixel_unshuffle_and_takes_maps_that_do_not_fit():
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(fold(x, 4, 4), F.pixel_unshuffle(x, 2))
    assert torch.equal(fold(x, 8, 8), x)
    assert fold(torch.randn(2, 3, 7, 7), 4, 4).shape == (2, 12, 4, 4)
    assert fold(torch.randn(2, 3, 8, 4), 2, 4).shape == (2, 12, 2, 4)
    assert cross_covariance(torch.randn(2, 3, 7, 7), torch.randn(2, 5, 4, 4)).shape == (12, 5)


@pytest.mark.parametrize("shape", [(3, 7), (7, 3)])
def test_largest_singular_value(shape):
    matrix = torch.randn(*shape)
    assert largest_singular(matrix) == pytest.approx(float(torch.linalg.svdvals(matrix)[0]), rel=1e-5)


def test_trainability_is_at_most_zero_and_best_where_gradients_keep_their_size():
    def mixed(gain: float) -> float:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 6, 1, bias=False), nn.Conv2d(6, 6, 1, bias=False))
        nn.init.orthogonal_(model[1].weight, gain)
        return score("az_trainability", model, torch.randn(64, 3, 8, 8), weights="given", inputs="images")

    assert -0.01 < mixed(1) <= 0
    assert mixed(3) < -0.5 and mixed(1 / 3) < -0.5


class Through(nn.Module):
    """A block, something between, a block."""

    def __init__(self, between: nn.Module):
        super().__init__()
        self.first, self.between = Block(3, 4), between

    def forward(self, x):
        return self.between(self.first(x))


def test_an_identity_block_is_minus_infinity_with_a_sentence_and_no_exception():
    model, names = Through(nn.Identity()), ["first", "between"]
    assert score("az_trainability", model, images(), layers=names) == -math.inf
    scores = score_all(model, images(), ["az_trainability"], options={"az_trainability": {"layers": names}})
    assert scores["az_trainability"] == -math.inf and scores.errors["az_trainability"]


def test_a_block_that_passes_nothing_on_is_the_worst():
    class Nothing(nn.Module):
        def forward(self, x):
            return torch.zeros_like(x)

    model, names = Through(Nothing()), ["first", "between"]
    assert score("az_trainability", model, images(), layers=names) < -1e5
    assert score("az_expressivity", model, images(), layers=names) == -math.inf
    assert score("az_progressivity", model, images(), layers=names) == -math.inf


def names_of(model: nn.Module, layers=None, size: int = 32) -> list[str]:
    with torch.no_grad():
        return [unit.name for unit in run_units(model, torch.randn(2, 3, size, size), layers)]


def test_blocks_of_torchvision_networks():
    resnet = torchvision.models.resnet18()
    assert names_of(resnet) == ["conv1", *(f"layer{i}.{j}" for i in (1, 2, 3, 4) for j in (0, 1))]
    assert names_of(torchvision.models.mobilenet_v2()) == [f"features.{i}" for i in range(19)]
    assert names_of(resnet, "layer?") == ["layer1", "layer2", "layer3", "layer4"]
    with pytest.raises(UnknownName, match="'laier1'"):
        names_of(resnet, ["layer?", "laier1"])


def test_blocks_of_nasbench201_are_stem_cells_and_reductions_whatever_the_cell_holds():
    space = spaces.create("nasbench201", depth=0.4, width=0.25)
    cells = [f"parts.cell{stage}_{cell}_node3" for stage in (1, 2, 3) for cell in (1, 2)]
    expected = ["parts.stem", *cells[:2], "parts.reduce2", *cells[2:4], "parts.reduce3", *cells[4:]]
    for arch in ((3, 3, 3, 3, 3, 3), (1, 0, 0, 1, 0, 2), (0, 0, 0, 1, 0, 0)):
        assert names_of(space.build(arch)) == expected
    skip = space.build((0, 0, 0, 1, 0, 0))  # every cell hands its input on
    assert score("az_trainability", skip, torch.randn(2, 3, 32, 32)) == -math.inf


def test_a_wrapper_is_looked_into_and_one_block_is_too_few():
    class Wrapper(nn.Module):
        def __init__(self, backbone):
            super().__init__()
            self.backbone = backbone

        def forward(self, x):
            return self.backbone(x)

    assert names_of(Wrapper(Wrapper(network())), size=8) == [f"backbone.backbone.{n}" for n in ("0", "1.0", "1.1")]
    with pytest.raises(ProxyError, match=r"1 blocks.*layers"):
        names_of(nn.Sequential(Block(3, 4), nn.Flatten()))


class Clamped(nn.Module):
    """Blocks with an activation between them, as a call that may work in place."""

    def __init__(self, inplace: bool):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.inplace = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3), inplace

    def forward(self, x):
        x = F.relu(self.first(x), inplace=self.inplace)
        return F.relu(self.second(x), inplace=self.inplace).mean((2, 3))


@pytest.mark.parametrize("name", PARTS)
def test_a_call_that_works_in_place_does_not_write_over_a_map(name):
    assert score(name, Clamped(True), images()) == score(name, Clamped(False), images())


@pytest.mark.parametrize("name", ["az_expressivity", "deepmad_entropy"])
def test_a_network_without_feature_maps_is_told_so_and_not_of_layers(name):
    vit = torchvision.models.VisionTransformer(8, 4, 2, 2, 16, 16)
    with pytest.raises(ProxyError, match="the network has no feature maps") as caught:
        score(name, vit, images())
    assert "layers" not in str(caught.value)


@pytest.mark.parametrize("name", PARTS)
def test_weights_are_drawn_and_images_are_noise_by_default(name):
    model, other = network(), network()
    for part in other.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.zeros_(part.weight)
    nn.init.ones_(other[0][0].weight)
    assert score(name, model, images()) == score(name, other, images() + 1)
    assert score(name, model, images()) != score(name, model, images(), weights="given")
    with pytest.raises(UnknownName):
        score(name, model, images(), inputs="nois")
