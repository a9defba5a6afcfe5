"""The factorised warm-up: exactly the published parameters, and a dense network that computes the same."""

from __future__ import annotations

import itertools

import pytest
import torch

from nasedu import data, spaces, wzdnas
from nasedu.blocks.common import Conv2d
from nasedu.blocks.factorised import Factorised
from nasedu.sampling import softmax, uniform_logits
from nasedu.wzdnas.warmup import factorise, merge


def trainable(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_p5_trains_as_many_parameters_as_the_published_one():
    """101.518 M, against 205.361 M that the dense supernet trains where biases do nothing (nc 20)."""
    space = spaces.create("yolo:p5", num_classes=20)
    with torch.device("meta"):
        supernet = space.supernet()
        for name, p in supernet.named_parameters():
            p.requires_grad_(not name.endswith("conv.bias"))
        assert trainable(supernet) == pytest.approx(205.361e6, abs=500)
        assert len(factorise(supernet)) == 1 + 5 + 2 + 5 * 15
        assert trainable(supernet) == pytest.approx(101.518e6, abs=500)


@pytest.mark.parametrize(("c_in", "c_out", "stride", "kernel"), [(5, 7, 1, 3), (4, 3, 2, 3), (3, 3, 1, 5)])
def test_a_merged_convolution_computes_the_same(c_in, c_out, stride, kernel):
    torch.manual_seed(0)
    factors = Factorised(Conv2d(c_in, c_out, kernel, stride, kernel // 2)).double()
    x, dense = torch.randn(2, c_in, 9, 9, dtype=torch.float64), factors.merged()
    torch.testing.assert_close(dense(x), factors(x), atol=1e-12, rtol=0)
    assert dense.weight.shape == (c_out, c_in, kernel, kernel) and not dense.bias.any()
    few = factors.narrow(x[:, :2], 2)
    expected = torch.nn.functional.conv2d(x[:, :2], dense.weight[:2, :2], None, stride, kernel // 2)
    torch.testing.assert_close(few, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("semantics", ["sliced", "faithful"])
@pytest.mark.parametrize("template", ["course", "csp", "elan"])
def test_every_merged_supernet_computes_the_same(template, semantics, randomised):
    space = spaces.create("yolo", template=template, num_classes=3, image_size=64, semantics=semantics)
    supernet = space.supernet(seed=0)
    before = {name: tuple(p.shape) for name, p in supernet.named_parameters()}
    done = factorise(supernet)
    assert done and not any(name.startswith(("neck", "head", "pan", "lateral", "reduce")) for name in done)
    randomised(supernet.double()).eval()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    paths = [[p.double() for p in softmax(uniform_logits(space.choices))], space.hand_designed]
    with torch.inference_mode():
        soft, hard = (supernet(images, path) for path in paths)
        merge(supernet)
        for path, expected in zip(paths, (soft, hard), strict=True):
            for a, b in zip(supernet(images, path), expected, strict=True):
                torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-9)
    assert {name: tuple(p.shape) for name, p in supernet.named_parameters()} == before
    assert all(p.requires_grad for p in supernet.parameters())


def test_the_warm_up_trains_factors_and_leaves_a_dense_supernet():
    space = spaces.create("yolo", num_classes=10, image_size=64)
    scenes = data.detection("digits", "train", size=8, image_size=64)
    config = wzdnas.recipe("short", epochs=1, batch_size=4)
    task = wzdnas.detection_task(space, config, scenes)
    supernet = space.supernet(seed=0)
    warmed = wzdnas.warm_up(space, supernet, task, config.training, mode="factorised", seed=1)
    assert len(warmed.history) == 1 and not any(isinstance(m, Factorised) for m in supernet.modules())
    kernels = [m.weight for n, m in supernet.parts["back3"].named_modules() if isinstance(m, Conv2d)]
    kernels = [w.detach().flatten(2) for w in kernels if w.shape[-1] == 3]
    for kernel, i in itertools.product(kernels, range(3)):
        assert torch.linalg.matrix_rank(kernel[:, i].double(), rtol=1e-5) == 1, "one pattern for each input channel"
    space.inherit(supernet, space.hand_designed)
