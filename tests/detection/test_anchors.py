from __future__ import annotations

import pytest
import torch

from nasedu.detection import best_possible_recall, evolve_anchors, fit_anchors
from nasedu.detection.anchors import assign
from nasedu.errors import DataError


def target(cx, cy, w, h, image=0):
    return torch.tensor([[image, 0, cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]])


def cells(found):
    return set(zip(found.column.tolist(), found.row.tolist(), strict=True))


def test_an_object_goes_to_its_cell_and_the_two_nearest_for_every_anchor_that_fits():
    anchors = torch.tensor([[[16.0, 16.0], [100.0, 16.0], [5.0, 16.0]]])
    (found,) = assign(target(21, 41, 16, 16, image=3), anchors, (8,), [(10, 6)])  # centre cell (2.625, 5.125)
    assert cells(found) == {(2, 5), (3, 5), (2, 4)}
    assert sorted(found.anchor.tolist()) == [0, 0, 0, 2, 2, 2]
    assert set(found.image.tolist()) == {3}
    assert set(found.target.tolist()) == {0}


@pytest.mark.parametrize(("side", "fits"), [(63.9, True), (64.0, False), (4.1, True), (4.0, False)])
def test_a_factor_of_four_is_too_much_in_both_directions(side, fits):
    (found,) = assign(target(40, 40, side, 16), torch.tensor([[[16.0, 16.0]]]), (8,), [(10, 10)])
    assert bool(len(found.target)) is fits


def test_neighbours_outside_the_map_are_left_out():
    anchors = torch.tensor([[[6.0, 6.0]]])
    shape = [(4, 8)]  # rows, columns
    assert cells(assign(target(3, 13, 6, 6), anchors, (8,), shape)[0]) == {(0, 1), (0, 2)}
    assert cells(assign(target(61, 29, 6, 6), anchors, (8,), shape)[0]) == {(7, 3)}
    assert cells(assign(target(64, 32, 6, 6), anchors, (8,), shape)[0]) == {(7, 3)}


def test_the_middle_of_a_cell_has_no_nearest_neighbours():
    (found,) = assign(target(20, 44, 16, 16), torch.tensor([[[16.0, 16.0]]]), (8,), [(10, 10)])
    assert (found.column.tolist(), found.row.tolist()) == ([2], [5])


def test_every_positive_can_reach_the_centre_of_its_object():
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(200, 2, generator=generator) * 90
    size = torch.rand(200, 2, generator=generator) * 30 + 4
    targets = torch.cat([torch.zeros(200, 2), corner, corner + size], dim=1)
    (found,) = assign(targets, torch.tensor([[[14.0, 14.0]]]), (8,), [(16, 16)])
    offset = (corner + size / 2)[found.target] / 8 - torch.stack([found.column, found.row], dim=1)
    assert offset.min() > -0.5
    assert offset.max() < 1.5
    assert (found.target.bincount() == 3).float().mean() > 0.8


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 9, 5, 5)])
def test_empty_and_inverted_boxes_are_assigned_nowhere(box):
    targets = torch.tensor([[0, 0, *box]]).float()
    assert len(assign(targets, torch.tensor([[[4.0, 4.0]]]), (8,), [(4, 4)])[0].target) == 0


def test_no_targets_give_no_positives(anchors):
    found = assign(torch.zeros(0, 6), anchors, (8, 16), [(8, 8), (4, 4)])
    assert [len(scale.target) for scale in found] == [0, 0]


def test_best_possible_recall_counts_boxes_that_some_anchor_fits(anchors):
    sizes = torch.tensor([[16.0, 16.0], [3.9, 16.0], [60.0, 200.0], [60.0, 500.0]])
    assert best_possible_recall(sizes, anchors) == 0.75  # the last is too tall for all
    assert best_possible_recall(sizes, anchors[0, :1]) == 0.25
    with pytest.raises(DataError):
        best_possible_recall(torch.zeros(0, 2), anchors)


def test_fitted_anchors_are_the_clusters_by_area_and_the_same_for_a_seed():
    centres = torch.tensor([[10.0, 10.0], [10.0, 30.0], [60.0, 20.0], [80.0, 90.0]])
    noise = torch.randn(4, 50, 2, generator=torch.Generator().manual_seed(1))
    sizes = (centres.flip(0)[:, None] + noise).view(-1, 2)
    fitted = fit_anchors(sizes, scales=2, per_scale=2, seed=0)
    assert fitted.shape == (2, 2, 2)
    torch.testing.assert_close(fitted.view(4, 2), centres, atol=0.6, rtol=0)
    assert torch.equal(fitted, fit_anchors(sizes, 2, 2, seed=0))


def test_fewer_sizes_than_anchors_are_all_anchors_and_so_are_smaller_and_larger_copies():
    single = fit_anchors(torch.tensor([[30.0, 40.0]] * 7), 3, 3)
    steps = 2 ** (torch.arange(-4, 5) / 4)
    torch.testing.assert_close(single.view(9, 2), steps[:, None] * torch.tensor([30.0, 40.0]))
    two = torch.tensor([[3.0, 4.0], [50.0, 60.0]])
    fitted = fit_anchors(two.repeat(10, 1), 3, 2)
    assert fitted.shape == (3, 2, 2) and len(fitted.view(6, 2).unique(dim=0)) == 6
    assert all((fitted.view(6, 2) == size).all(dim=1).any() for size in two)
    assert best_possible_recall(two, fitted) == 1


def test_anchors_of_no_box_are_refused():
    with pytest.raises(DataError, match="no box"):
        fit_anchors(torch.zeros(0, 2), 3, 3)


def test_evolved_anchors_meet_the_boxes_better_and_never_worse():
    sizes = 10 * torch.exp(torch.randn(300, 2, generator=torch.Generator().manual_seed(0)))
    start = fit_anchors(sizes, 3, 3)

    def fitness(anchors):
        met = torch.minimum(sizes[:, None] / anchors.view(-1, 2), anchors.view(-1, 2) / sizes[:, None]).amin(-1).amax(1)
        return float((met * (met > 0.25)).mean())

    evolved = evolve_anchors(sizes, start, 300)
    assert evolved.shape == start.shape and fitness(evolved) > fitness(start) + 0.005
    assert torch.equal(evolved, evolve_anchors(sizes, start, 300)), "the same draws"
    assert torch.equal(evolve_anchors(sizes, start, 0), start)
    areas = evolved.view(-1, 2).prod(1)
    assert (areas.diff() >= 0).all() and evolved.min() >= 2
    with pytest.raises(DataError, match="no box"):
        evolve_anchors(torch.zeros(0, 2), start)
