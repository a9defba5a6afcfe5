"""EPE-NAS against a loop over classes and pairs of images, in both forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nasedu.errors import ParameterError, ProxyError
from nasedu.proxies import score, score_all


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


IMAGES = torch.randn(9, 3, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 1, 1, 2])


def textbook(model, images, labels, second_form=False):
    rows = []
    for image in images:
        x = image[None].clone().requires_grad_(True)
        rows.append(torch.autograd.grad(model(x).sum(), x)[0].flatten().double())
    scores = []
    for c in sorted(set(labels.tolist())):
        members, s = [r - r.mean() for r, y in zip(rows, labels.tolist(), strict=True) if y == c], 0.0
        for a in members:
            for b in members:
                s += math.log(abs(float(a @ b / (a.norm() * b.norm()))) + 1e-5)
        scores.append(s / len(members) if second_form else s)
    if not second_form:
        return sum(abs(s) for s in scores)
    return sum(abs(a - b) for a in scores for b in scores) / len(scores)


def test_both_forms_equal_the_textbook():
    model = network()
    own = score("epe_nas", model, (IMAGES, LABELS))
    assert own == pytest.approx(textbook(model, IMAGES, LABELS), rel=1e-3) and own > 0
    assert score("epe_nas", model, (IMAGES, LABELS), classes=100) == own
    second = score("epe_nas", model, (IMAGES, LABELS), classes=101)
    assert second == pytest.approx(textbook(model, IMAGES, LABELS, second_form=True), rel=1e-3)
    assert second != pytest.approx(own, rel=0.1)


def test_labels_group_the_images():
    model = network()
    assert score("epe_nas", model, (IMAGES, LABELS.roll(1))) != pytest.approx(score("epe_nas", model, (IMAGES, LABELS)))
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    shuffled = score("epe_nas", model, (IMAGES[order], LABELS[order]))
    assert shuffled == pytest.approx(score("epe_nas", model, (IMAGES, LABELS)), rel=1e-5)


def test_a_single_image_of_a_class_adds_nothing():
    model, alone = network(), LABELS.clone()
    alone[0] = 9
    rest = score("epe_nas", model, (IMAGES[1:], LABELS[1:]))
    assert score("epe_nas", model, (IMAGES, alone)) == pytest.approx(rest, abs=1e-3)
    with pytest.raises(ParameterError, match="single image"):
        score("epe_nas", model, (IMAGES, torch.arange(9)))


def test_twins_score_lower_than_different_images():
    model, twins = network(), IMAGES.clone()
    twins[2] = twins[0]
    twins[5] = twins[0]
    assert score("epe_nas", model, (twins, LABELS)) < score("epe_nas", model, (IMAGES, LABELS))


def test_it_shares_the_jacobian_and_says_what_is_missing():
    model = network()
    found = score_all(model, (IMAGES, LABELS), ["jacob_cov", "epe_nas"])
    assert found["epe_nas"] == score("epe_nas", model, (IMAGES, LABELS))
    with pytest.raises(ParameterError, match="needs labels"):
        score("epe_nas", model, IMAGES)
    for wrong in (0, 1.5, True):
        with pytest.raises(ParameterError, match="classes of epe_nas"):
            score("epe_nas", model, (IMAGES, LABELS), classes=wrong)
    with torch.no_grad():
        model[0].weight.zero_()
    with pytest.raises(ProxyError, match="do not depend on the images"):
        score("epe_nas", model, (IMAGES, LABELS))
