from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import softplus
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.ops import box_iou, complete_box_iou_loss

from nasedu.detection import DetectionLoss
from nasedu.detection.anchors import assign
from nasedu.detection.losses import paired_ciou, paired_iou
from nasedu.errors import ParameterError, UnknownName

STRIDES = (8, 16)
TARGETS = torch.tensor([[0, 1, 20.0, 10.0, 40.0, 34.0], [1, 3, 30.0, 40.0, 44.0, 60.0]])


def blank(classes=5, value=0.0, batch=2):
    return [torch.full((batch, 2, side, side, 5 + classes), value) for side in (8, 4)]


@pytest.fixture
def perfect(anchors, encode_boxes):
    """`perfect()`: the maps whose predictions are the targets, surely, and nothing else."""

    def make(targets=TARGETS):
        maps = blank(value=-15.0)
        found = assign(targets, anchors, STRIDES, [(8, 8), (4, 4)])
        for raw, positives, sizes, stride in zip(maps, found, anchors, STRIDES, strict=True):
            image, anchor, row, column, target = positives
            cells = torch.stack([column, row], dim=1)
            raw[image, anchor, row, column, :4] = encode_boxes(targets[target, 2:], cells, sizes[anchor], stride)
            raw[image, anchor, row, column, 4] = 15
            raw[image, anchor, row, column, 5 + targets[target, 1].long()] = 15
        return maps

    return make


@pytest.mark.parametrize("iou", ["iou", "ciou"])
def test_a_perfect_prediction_costs_nothing_and_a_shifted_one_does(anchors, iou, perfect):
    loss = DetectionLoss(anchors, STRIDES, 5, iou)
    parts = loss(perfect(), TARGETS)
    assert all(0 <= float(parts[name]) < 1e-4 for name in ("box", "obj", "cls"))
    moved = TARGETS + torch.tensor([0, 0, 3.0, 0, 3.0, 0])
    assert loss(perfect(), moved)["box"] > 0.01
    relabelled = TARGETS + torch.tensor([0, 1, 0, 0, 0, 0])
    assert loss(perfect(), relabelled)["cls"] > 0.1


def test_training_the_maps_drives_the_box_loss_to_zero(anchors):
    maps = [raw.requires_grad_() for raw in blank()]
    loss, optimizer = DetectionLoss(anchors, STRIDES, 5), torch.optim.Adam(maps, lr=0.3)
    decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.96)
    for _ in range(120):
        optimizer.zero_grad()
        parts = loss(maps, TARGETS)
        parts["total"].backward()
        optimizer.step()
        decay.step()
    assert parts["box"] < 0.001
    assert parts["cls"] < 0.005


def test_without_targets_only_objectness_counts_with_its_balance_and_scaling(anchors):
    parts = DetectionLoss(anchors, STRIDES, 5)(blank(), torch.zeros(0, 6))
    assert parts["box"] == 0
    assert parts["cls"] == 0
    assert float(parts["obj"]) == pytest.approx(math.log(2) * (4 + 1) * 3 / 2)
    assert float(parts["total"]) == pytest.approx(2 * float(parts["obj"]))
    three = torch.cat([anchors, 2 * anchors[1:]])
    maps = [*blank(), torch.zeros(2, 2, 2, 2, 10)]
    parts = DetectionLoss(three, (8, 16, 32), 5)(maps, torch.zeros(0, 6))
    assert float(parts["obj"]) == pytest.approx(math.log(2) * 5.4)


def test_without_targets_the_gradient_is_finite(anchors):
    maps = [raw.requires_grad_() for raw in blank()]
    DetectionLoss(anchors, STRIDES, 5)(maps, torch.zeros(0, 6))["total"].backward()
    assert all(raw.grad.isfinite().all() and raw.grad[..., :4].eq(0).all() for raw in maps)


def test_the_target_of_objectness_is_the_overlap_of_the_prediction(anchors):
    """At logit 1 a BCE is softplus(1) - target, so the mean tells the sum of all targets."""
    maps = blank()
    maps[0][..., 4] = maps[1][..., 4] = 1
    target = torch.tensor([[0, 0, 28.0, 20.0, 44.0, 36.0]])  # centre (36, 28): the middle of cell (4, 3)
    expected = 0.0
    for weight, scale, half in [(4, 0, (8, 8)), (4, 0, (6, 15)), (1, 1, (30, 30))]:
        centre = torch.tensor([36.0, 28.0] if scale == 0 else [40.0, 24.0])
        boxes = torch.cat([centre - torch.tensor(half), centre + torch.tensor(half)])[None].float()
        shifts = [(0, 0)] if scale == 0 else [(0, 0), (-16, 0), (0, 16)]
        for dx, dy in shifts:
            moved = boxes + torch.tensor([dx, dy, dx, dy])
            expected -= weight * float(box_iou(moved, target[:, 2:])) / maps[scale][..., 4].numel()
    expected += 5 * float(softplus(torch.tensor(1.0)))
    for targets in (target, target.repeat(2, 1)):  # a second object in the same place changes nothing
        parts = DetectionLoss(anchors, STRIDES, 5, "iou")(maps, targets)
        assert float(parts["obj"]) == pytest.approx(1.5 * expected, rel=1e-6)


def test_a_negative_overlap_asks_for_no_objectness(anchors):
    """A prediction without size has an IoU of 0 and a CIoU below it."""
    maps = blank(value=-15.0)
    maps[0][..., 4] = maps[1][..., 4] = 1
    parts = DetectionLoss(anchors, STRIDES, 5)(maps, TARGETS)
    assert float(parts["obj"]) == pytest.approx(1.5 * 5 * float(softplus(torch.tensor(1.0))))


def test_box_and_class_losses_are_means_over_the_objects(anchors):
    loss = DetectionLoss(anchors, STRIDES, 5)
    one, twice = loss(blank(), TARGETS), loss(blank(), TARGETS.repeat(2, 1))
    assert all(float(one[name]) == pytest.approx(float(twice[name])) for name in ("box", "cls"))


def test_class_loss_has_the_published_weight_and_vanishes_for_one_class(anchors):
    assigned = assign(TARGETS, anchors, STRIDES, [(8, 8), (4, 4)])
    assert all(len(found.target) for found in assigned)  # both scales have positives
    parts = DetectionLoss(anchors, STRIDES, 5)(blank(), TARGETS)
    assert float(parts["cls"]) == pytest.approx(0.5 * 5 / 80 * 2 * math.log(2) * 3 / 2)
    one = DetectionLoss(anchors, STRIDES, 1)(blank(classes=1), TARGETS * torch.tensor([1, 0, 1, 1, 1, 1]))
    assert one["cls"] == 0
    assert one["box"] > 0


def test_weights_multiply_their_part(anchors):
    one = DetectionLoss(anchors, STRIDES, 5)(blank(), TARGETS)
    other = DetectionLoss(anchors, STRIDES, 5, box=0.5, obj=2, cls=5)(blank(), TARGETS)
    for name, factor in {"box": 10, "obj": 2, "cls": 10}.items():
        assert float(other[name]) == pytest.approx(factor * float(one[name]))
    assert float(other["total"]) == pytest.approx(2 * float(other["box"] + other["obj"] + other["cls"]))


@pytest.mark.parametrize("iou", ["iou", "ciou"])
@pytest.mark.parametrize("raw", [-300.0, -50.0, 50.0, 300.0])
def test_gradients_stay_finite_for_extreme_predictions(anchors, iou, raw):
    maps = [part.requires_grad_() for part in blank(value=raw)]
    loss = DetectionLoss(anchors, STRIDES, 5, iou)(maps, TARGETS)["total"]
    loss.backward()
    assert loss.isfinite()
    assert all(part.grad.isfinite().all() for part in maps)


class NoWaiting(TorchDispatchMode):
    """Refuses what a GPU has to be waited for: values that Python reads, and shapes that depend on values."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert not any(name in str(function) for name in ("_local_scalar_dense", "nonzero", "masked_select", "unique"))
        indexes = str(function).startswith(("aten.index.", "aten.index_put", "aten._index_put", "aten._unsafe_index"))
        masks = args[1] if indexes else ()
        assert not any(isinstance(i, torch.Tensor) and i.dtype == torch.bool for i in masks)
        return function(*args, **(kwargs or {}))


def crowd(n):
    """n random objects on 64 pixels, and maps that know nothing of them."""
    generator = torch.Generator().manual_seed(n)
    places = torch.rand(n, 2, 2, generator=generator) * torch.tensor([40.0, 60.0])
    corners = torch.cat([places[:, 0], places[:, 0] + 3 + places[:, 1].clamp(max=20)], 1)
    kinds = torch.randint(5, (n, 1), generator=generator).float()
    maps = [torch.randn(raw.shape, generator=generator).requires_grad_() for raw in blank()]
    return maps, torch.cat([torch.arange(n)[:, None] % 2, kinds, corners], 1)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("classes", [5, 1])
@pytest.mark.parametrize("n", [0, 1, 12])
def test_a_loss_that_looks_at_nothing_is_the_same_but_for_rounding(anchors, n, classes, pooled):
    maps, targets = crowd(n)
    targets[:, 1] = targets[:, 1].clamp(max=classes - 1)
    found = []
    for looks in (True, False):
        loss = DetectionLoss(anchors, STRIDES, classes, pooled=pooled, looks=looks)
        parts = loss([raw[..., : 5 + classes] for raw in maps], targets)
        found.append((parts, torch.autograd.grad(parts["total"], maps)))
    (one, slopes), (other, others) = found
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(slopes, others, rtol=1e-4, atol=1e-7)
    assert n == 0 or one["box"] > 0


def test_neither_loss_nor_gradient_waits_for_a_gpu(anchors):
    maps, targets = crowd(6)
    with NoWaiting():
        DetectionLoss(anchors, STRIDES, 5, looks=False)(maps, targets)["total"].backward()
    assert all(raw.grad.abs().sum() > 0 for raw in maps)
    with pytest.raises(AssertionError), NoWaiting():
        DetectionLoss(anchors, STRIDES, 5)(maps, targets)


def test_complete_iou_is_torchvisions_to_the_last_bit_with_its_gradient():
    generator = torch.Generator().manual_seed(0)
    near, size = (torch.rand(2, 500, 2, generator=generator) * t for t in (40, 20))
    boxes, others = (torch.cat([a, a + 0.1 + b], 1) for a, b in zip(near, size, strict=True))
    slopes = []
    for losses in (complete_box_iou_loss, lambda a, b: 1 - paired_ciou(a, b)):
        given = boxes.clone().requires_grad_()
        losses(given, others).sum().backward()
        slopes.append(given.grad)
    assert torch.equal(1 - complete_box_iou_loss(boxes, others), paired_ciou(boxes, others))
    assert torch.equal(*slopes) and 50 < (paired_iou(boxes, others) > 0).sum() < 450


def test_overlaps_by_hand():
    boxes = torch.tensor([[0, 0, 10.0, 10.0], [0, 0, 10.0, 10.0], [0, 0, 10.0, 10.0]])
    others = torch.tensor([[0, 0, 10.0, 10.0], [5.0, 0, 15.0, 10.0], [0, 0, 20.0, 10.0]])
    torch.testing.assert_close(paired_iou(boxes, others), box_iou(boxes, others).diag())
    shape = 4 / math.pi**2 * (math.atan(2) - math.atan(1)) ** 2
    ciou = [1, 1 / 3 - 25 / (15**2 + 10**2), 0.5 - 25 / (20**2 + 10**2) - shape**2 / (0.5 + shape)]
    torch.testing.assert_close(paired_ciou(boxes, others), torch.tensor(ciou), atol=1e-5, rtol=0)


def test_bad_arguments_are_refused(anchors):
    with pytest.raises(UnknownName, match="did you mean 'ciou'"):
        DetectionLoss(anchors, STRIDES, 5, "cioo")
    with pytest.raises(ParameterError, match="3 strides came with anchors for 2"):
        DetectionLoss(anchors, (8, 16, 32), 5)
    with pytest.raises(ParameterError, match="weights for 1"):
        DetectionLoss(anchors, STRIDES, 5, balance=(4.0,))
