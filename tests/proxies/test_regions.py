"""SWAP and linear regions: patterns counted one by one with Python sets, and what adds none."""

from __future__ import annotations

import math
import zlib

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from nasedu.errors import ParameterError, ProxyError, UnknownName
from nasedu.proxies import info, score, score_all
from nasedu.proxies.regions import region_ids, unit_patterns


class Functional(nn.Module):
    """Activations that no module hook can see."""

    def __init__(self, width=4, channels=3):
        super().__init__()
        self.first, self.second = nn.Conv2d(channels, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.out = nn.Linear(width, 3)

    def forward(self, x):
        x = self.second(F.relu(self.first(x))).relu()
        return self.out(x.mean((2, 3)))


def network(width=4, channels=3):
    torch.manual_seed(0)
    return Functional(width, channels)


def bits_of(model, x):
    """Bit strings (images, units) by the textbook, for `Functional`."""
    first = model.first(x)
    second = model.second(first.clamp(min=0))
    return torch.cat([first.flatten(1), second.flatten(1)], 1) > 0


@pytest.mark.parametrize("batch", [2, 6, 64, 65, 70])
def test_swap_counts_the_different_columns(batch):
    model, images = network(), torch.randn(batch, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    columns = {tuple(column) for column in bits_of(model, images).T.tolist()}
    assert score("swap", model, images) == len(columns)
    rows = {tuple(row) for row in bits_of(model, images).tolist()}
    assert len(columns) != len(rows)  # counting the images' patterns instead would be another proxy


def test_swap_counts_a_pattern_once_over_all_layers_and_never_more_than_two_to_the_batch():
    model, images = network(16), torch.randn(3, 3, 6, 6)
    assert score("swap", model, images) == 8  # two layers with 8 each
    assert score("swap", model, torch.randn(1, 3, 6, 6).repeat(5, 1, 1, 1)) == 2  # on for all, or off for all


def test_swap_is_regularised_by_thousands_of_parameters():
    model, images = network(), torch.randn(6, 3, 4, 4)
    plain, thousands = score("swap", model, images), sum(p.numel() for p in model.parameters()) / 1e3
    assert score("swap", model, images, mu=thousands, sigma=2.0) == pytest.approx(plain)
    expected = plain * math.exp(-((thousands - 1.5) ** 2) / 2.0)
    assert score("swap", model, images, mu=1.5, sigma=2.0) == pytest.approx(expected, rel=1e-9)
    for wrong in ({"mu": 1.0}, {"sigma": 1.0}, {"mu": 1.0, "sigma": 0.0}, {"mu": math.nan, "sigma": 1.0}):
        with pytest.raises(ParameterError, match="both mu and sigma"):
            score("swap", model, images, **wrong)
    with pytest.raises(ProxyError, match="vanishes"):
        score("swap", model, images, mu=1e6, sigma=1.0)


def test_swap_does_not_change_with_order_or_positive_scale():
    model, images = network(), torch.randn(8, 3, 4, 4)
    value = score("swap", model, images)
    assert score("swap", model, images.flip(0)) == value
    with torch.no_grad():
        model.first.weight.mul_(8.0), model.first.bias.mul_(8.0), model.second.bias.mul_(8.0)
    assert score("swap", model, images) == value


def test_patterns_tell_units_apart_up_to_the_last_image_and_beyond_64():
    for images in (64, 65):
        code = torch.zeros(images, 4, dtype=torch.bool)
        code[-1, 1], code[0, 2], code[:, 3] = True, True, True
        assert len(unit_patterns(code).unique()) == 4


def test_region_ids_are_equal_where_all_bits_are():
    model, images = network(2, 1), torch.randn(300, 1, 1, 1, generator=torch.Generator().manual_seed(2))
    ids, bits = region_ids(model, images), bits_of(model, images)
    same = (bits[:, None] == bits[None, :]).all(2)
    assert torch.equal(ids[:, None] == ids[None, :], same) and 2 < len(ids.unique()) < 300


def test_a_unit_at_zero_is_off():
    model = nn.Sequential(nn.Identity(), nn.ReLU())
    off, negative, on = region_ids(model, torch.tensor([0.0, -1.0, 1.0]).reshape(3, 1, 1, 1)).tolist()
    assert off == negative != on


def test_linear_regions_are_counted_like_a_set_of_patterns():
    model = network(2)
    own = score(
        "linear_regions", model, torch.zeros(2, 3, 8, 8), seed=7, weights="given", size=1, repeats=1, samples=500
    )
    probe_seed = zlib.crc32(b"linear_regions")
    images = torch.randn(500, 3, 1, 1, generator=torch.Generator().manual_seed((probe_seed << 20) + 7))
    assert own == len({tuple(row) for row in bits_of(model, images).tolist()}) < 500


def test_generator_gives_the_inputs():
    model = network(2)
    options = {"weights": "given", "size": 2, "repeats": 1, "samples": 200}
    value = score(
        "linear_regions", model, torch.zeros(2, 3, 8, 8), generator=torch.Generator().manual_seed(3), **options
    )
    images = torch.randn(200, 3, 2, 2, generator=torch.Generator().manual_seed(3))
    assert value == len({tuple(row) for row in bits_of(model, images).tolist()})


def test_twins_among_the_inputs_do_not_add_and_nothing_exceeds_the_samples():
    model, constant = network(), torch.randn(1, 3, 5, 5)[:, :, :1, :1].expand(1, 3, 5, 5)
    crops = {"inputs": "crops", "weights": "given", "repeats": 2}
    assert score("linear_regions", model, constant, samples=50, **crops) == 1
    images = torch.randn(4, 3, 3, 3)  # crops of the whole size: at most four different inputs
    assert score("linear_regions", model, images, samples=60, **crops) == 4
    assert score("linear_regions", network(16), images, samples=40) == 40  # saturated


def test_parts_share_no_patterns_twice():
    model, images = network(2), torch.zeros(2, 3, 4, 4)
    options = {"weights": "given", "size": 1, "samples": 200}
    whole = score("linear_regions", model, images, **options)
    assert score("linear_regions", model, images, at_once=33, **options) == whole


def test_a_line_meets_fewer_regions_than_space():
    torch.manual_seed(0)
    model, images = network(8), torch.zeros(2, 3, 4, 4)
    line, plane, space = (score("linear_regions", model, images, samples=400, dimensions=d) for d in (1, 2, None))
    assert 2 <= line < plane <= space <= 400
    # without biases a line through the origin has two sides, and no more
    unbiased = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.ReLU(), nn.Conv2d(8, 8, 1, bias=False), nn.ReLU())
    assert score("linear_regions", unbiased, images, samples=400, dimensions=1) == 2


def test_kaiming_weights_replace_the_networks_own():
    model, images, options = network(), torch.zeros(2, 3, 4, 4), {"samples": 200, "dimensions": 2}
    fresh = score("linear_regions", model, images, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.01)  # every unit of a layer the same
    assert score("linear_regions", model, images, **options) == fresh
    assert score("linear_regions", model, images, weights="given", **options) < fresh
    assert score("linear_regions", model, images, seed=1, **options) != fresh


def test_what_cannot_be_counted_is_said():
    images = torch.randn(4, 3, 8, 8)
    for name in ("swap", "linear_regions"):
        with pytest.raises(ProxyError, match="no activation ran"):
            score(name, nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten()), images)
    valid = nn.Sequential(nn.Conv2d(3, 4, 5), nn.ReLU())
    with pytest.raises(ProxyError, match=r"cannot run .* on .* x 3 x 3 x 3: .*; `size` can be larger than 3"):
        score("linear_regions", valid, images)
    assert score("linear_regions", valid, images, size=5, samples=50) > 1
    for wrong in ({"samples": 1}, {"size": 0}, {"repeats": True}, {"at_once": 1}, {"dimensions": 0}):
        with pytest.raises(ParameterError, match="whole number"):
            score("linear_regions", valid, images, **wrong)
    with pytest.raises(ParameterError, match="at most 8 for crops"):
        score("linear_regions", valid, images, inputs="crops", size=9)
    with pytest.raises(UnknownName, match="did you mean 'kaiming'"):
        score("linear_regions", valid, images, weights="kaimnig")
    with pytest.raises(UnknownName, match="did you mean 'crops'"):
        score("linear_regions", valid, images, inputs="crop")


def test_a_network_that_asserts_its_size_is_told_of_the_option():
    vit = torchvision.models.VisionTransformer(32, 16, 1, 2, 16, 16)
    for name, hint in {"linear_regions": "`size` can be larger", "meco": "`size` can be that"}.items():
        with pytest.raises(ProxyError, match=f"cannot run in training mode .*; {hint}"):
            score(name, vit, torch.zeros(2, 3, 32, 32))
    assert score("linear_regions", vit, torch.zeros(2, 3, 32, 32), size=32, samples=4, repeats=1) > 1


def test_swap_reads_the_shared_pass():
    model, images = network(), torch.randn(6, 3, 4, 4)
    runs = []
    model.register_forward_hook(lambda *_: runs.append(1))  # deep copies keep it, and its list
    found = score_all(model, images, ["swap", "naswot"])
    assert len(runs) == 1 and found["swap"] == score("swap", model, images)
    assert info("swap").reads == {"codes"}
