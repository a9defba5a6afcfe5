"""BN recalibration: plain averages over the batches, and nothing else moved."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nasedu import spaces
from nasedu.sampling import softmax, uniform_logits
from nasedu.supernet.batchnorm import recalibrate


def test_statistics_are_the_average_over_the_batches():
    norm = nn.BatchNorm2d(2, momentum=0.03)
    norm.running_mean.fill_(99.0)
    batches = [torch.randn(8, 2, 4, 4) + i for i in range(5)]
    norm.eval()
    assert recalibrate(norm, batches, lambda m, x: m(x)) == 5
    expected = torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0)
    torch.testing.assert_close(norm.running_mean, expected)
    variances = torch.stack([b.var((0, 2, 3)) for b in batches]).mean(0)
    torch.testing.assert_close(norm.running_var, variances)
    assert norm.momentum == 0.03 and not norm.training


def test_weights_stay_and_a_sliced_path_calibrates_only_what_it_runs():
    space = spaces.create("yolo", num_classes=2, image_size=32)
    supernet = space.supernet().eval()
    weights = {k: v.clone() for k, v in supernet.named_parameters()}
    recalibrate(supernet, [torch.randn(4, 3, 32, 32)], lambda m, x: m(x, (0,) * 18))
    assert all(torch.equal(v, weights[k]) for k, v in supernet.named_parameters())
    norm, hidden = supernet.parts["back2"].enter.bn, supernet.parts["back2"].hiddens[0]
    assert norm.running_mean[:hidden].abs().min() > 0 and norm.running_mean[hidden:].abs().max() == 0
    recalibrate(supernet, [torch.randn(4, 3, 32, 32)], lambda m, x: m(x, softmax(uniform_logits(space.choices))))
    assert norm.running_mean.abs().min() > 0
    assert supernet(torch.randn(1, 3, 32, 32), (0,) * 18)[0].isfinite().all()
    assert norm.momentum == pytest.approx(0.03)
