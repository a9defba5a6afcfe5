"""GradSign against a loop over images that keeps every gradient."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from nasedu.errors import ParameterError, ProxyError, UnknownName
from nasedu.proxies import score


class Functional(nn.Module):
    def __init__(self, side=1):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6)
        self.out, self.side = nn.Linear(6 * side * side, 4), side

    def forward(self, x):
        x = F.adaptive_avg_pool2d(F.relu(self.bn(self.conv(x))), self.side)
        return self.out(x.flatten(1))


def network():
    torch.manual_seed(0)
    return Functional()


IMAGES = torch.randn(5, 3, 6, 6, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 3, 2, 1])


def textbook(model, together, reduce=torch.mean):
    model, signs = model.train(), []
    for n in range(len(IMAGES)):
        model.zero_grad()
        part = slice(None) if together else slice(n, n + 1)
        losses = F.cross_entropy(model(IMAGES[part]), LABELS[part], reduction="none")
        losses[n if together else 0].backward()
        signs.append(torch.cat([model.conv.weight.grad.flatten(), model.out.weight.grad.flatten()]).sign())
    return float(reduce(torch.stack(signs).sum(0).abs()))


@pytest.mark.parametrize("forward", ["alone", "together"])
def test_it_equals_the_textbook(forward):
    own = score("gradsign", network(), (IMAGES, LABELS), forward=forward)
    assert own == pytest.approx(textbook(network(), forward == "together"), rel=1e-4)
    added = score("gradsign", network(), (IMAGES, LABELS), forward=forward, over="sum")
    assert added == pytest.approx(textbook(network(), forward == "together", torch.sum), rel=1e-4)


def test_shared_statistics_make_a_difference_only_with_batch_normalisation():
    model = network()
    batch = (IMAGES, LABELS)
    assert score("gradsign", model, batch) != pytest.approx(score("gradsign", model, batch, forward="alone"))
    model.bn = nn.Identity()
    assert score("gradsign", model, batch) == pytest.approx(score("gradsign", model, batch, forward="alone"))


def test_resnet18_is_scored_at_32_pixels():
    torch.manual_seed(0)
    images = torch.randn(3, 3, 32, 32)  # its last maps have one pixel
    assert 0 < score("gradsign", torchvision.models.resnet18(num_classes=4), (images, LABELS[:3])) <= 3


def test_equal_images_agree_fully_and_only_opposite_labels_conflict():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2, bias=False))
    image = torch.rand(1, 3, 2, 2) + 0.1
    agree = score("gradsign", model, (image.repeat(6, 1, 1, 1), torch.zeros(6, dtype=torch.int64)))
    assert agree == 6  # the sum of absolute signs, not the sign of the summed gradient, nor their mean
    split = torch.tensor([0, 1, 0, 1, 0, 1])
    assert score("gradsign", model, (image.repeat(6, 1, 1, 1), split)) == 0
    assert score("gradsign", model, (image.repeat(3, 1, 1, 1), torch.tensor([0, 0, 1]))) == 1


def test_the_size_of_gradients_does_not_matter():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2, bias=False))
    image = torch.rand(1, 3, 2, 2) + 0.1
    images = torch.cat([image, 10 * image, image])  # one large gradient against two small ones
    assert score("gradsign", model, (images, torch.tensor([0, 1, 0]))) == 1


def test_what_cannot_be_scored_is_said():
    model = network()
    with pytest.raises(ParameterError, match="needs labels"):
        score("gradsign", model, IMAGES)
    for forward in ("alone", "together"):
        with pytest.raises(ParameterError, match="between 0 and 3"):
            score("gradsign", model, (IMAGES, LABELS + 1), forward=forward)
    with pytest.raises(UnknownName, match="did you mean 'alone'"):
        score("gradsign", model, (IMAGES, LABELS), forward="alnoe")
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 4))
    with pytest.raises(ProxyError, match=r'cannot run in training mode on 1 x 3 x 6 x 6: .*; forward="together" runs'):
        score("gradsign", pooled, (IMAGES, LABELS), forward="alone")
    assert score("gradsign", pooled, (IMAGES, LABELS)) > 0
