from __future__ import annotations

import torch

from nasedu.detection.boxes import decode, decode_boxes


def test_zero_is_the_middle_of_the_cell_with_the_size_of_the_anchor():
    box = decode_boxes(torch.zeros(4), torch.tensor([2, 5]), torch.tensor([10.0, 30.0]), 8)
    assert box.tolist() == [20 - 5, 44 - 15, 20 + 5, 44 + 15]


def test_the_reach_is_half_a_cell_around_and_four_anchors():
    far = decode_boxes(torch.full((4,), 50.0), torch.tensor([0, 0]), torch.tensor([10.0, 10.0]), 8)
    assert far.tolist() == [12 - 20, 12 - 20, 12 + 20, 12 + 20]


def test_decoding_inverts_encoding(encode_boxes):
    generator = torch.Generator().manual_seed(0)
    cells = torch.randint(0, 10, (100, 2), generator=generator)
    anchors = torch.rand(100, 2, generator=generator) * 50 + 5
    centre = (cells + torch.rand(100, 2, generator=generator) * 1.9 - 0.45) * 16
    half = anchors * (torch.rand(100, 2, generator=generator) * 3.8 + 0.1) / 2
    boxes = torch.cat([centre - half, centre + half], dim=1)
    raw = encode_boxes(boxes, cells, anchors, 16)
    torch.testing.assert_close(decode_boxes(raw, cells, anchors, 16), boxes, atol=2e-3, rtol=1e-4)


def test_predictions_come_by_scale_anchor_row_and_column(anchors):
    maps = [torch.zeros(2, 2, 3, 5, 7), torch.zeros(2, 2, 2, 3, 7)]  # more columns than rows
    maps[1][1, 1, 1, 2, 4:] = torch.tensor([20.0, -20.0, 0.0])
    decoded = decode(maps, anchors, (8, 16))
    assert decoded.shape == (2, 2 * 3 * 5 + 2 * 2 * 3, 7)
    place = 2 * 3 * 5 + 1 * 2 * 3 + 1 * 3 + 2
    assert decoded[1, place, :4].tolist() == [40 - 20, 24 - 50, 40 + 20, 24 + 50]
    torch.testing.assert_close(decoded[1, place, 4:], torch.tensor([1.0, 0.0, 0.5]))
    assert (decoded[0, :, 4:] == 0.5).all()
