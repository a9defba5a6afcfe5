"""jacob_cov against NumPy's general eigenvalues, and on jacobians that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from nasedu.errors import ProxyError
from nasedu.proxies import score, score_all


class Rows(nn.Module):
    """Logits of image n: its product with row n, so that the rows are the jacobian."""

    def __init__(self, rows: torch.Tensor):
        super().__init__()
        self.rows = nn.Parameter(rows)

    def forward(self, x):
        return (x.flatten(1) * self.rows).sum(1, keepdim=True)


def jacob_cov_of(rows: torch.Tensor) -> float:
    return score("jacob_cov", Rows(rows), torch.zeros(len(rows), 1, 1, rows.shape[1]))


def textbook_jacob_cov(network, images):
    images = images.to(next(network.parameters()).dtype).requires_grad_()
    outputs = network(images)
    outputs.backward(torch.ones_like(outputs))
    values = np.linalg.eig(np.corrcoef(images.grad.flatten(1).double().numpy()))[0].real
    return -float(np.sum(np.log(values + 1e-5) + 1 / (values + 1e-5)))


def test_agrees_with_the_textbook(network, batch, textbook):
    expected = textbook_jacob_cov(textbook(network)[0], batch[0].clone())
    assert score("jacob_cov", network, batch) == pytest.approx(expected, rel=1e-3)
    assert score("jacob_cov", network, batch[0]) == score("jacob_cov", network, batch)  # labels do not matter


def orthogonal_rows(count: int) -> torch.Tensor:
    """(count, 16): columns of a Hadamard matrix without its constant one."""
    h = torch.ones(1, 1)
    for _ in range(4):
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)])
    return h[1 : 1 + count]


def test_orthogonal_centred_rows_are_the_best_there_is():
    assert jacob_cov_of(orthogonal_rows(8)) == pytest.approx(-8, rel=1e-9)
    assert jacob_cov_of(orthogonal_rows(8) * torch.rand(8, 1).add(1) + 7) == pytest.approx(-8, rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_above_minus_the_batch(seed):
    rows = torch.randn(8, 2000, generator=torch.Generator().manual_seed(seed))
    assert -8.2 < jacob_cov_of(rows) <= -8 * (1 - 1e-9)


@pytest.mark.parametrize("duplicates", [1, 2])
def test_a_duplicate_row_costs_a_hundred_thousand_and_stays_finite(duplicates):
    rows = orthogonal_rows(8)
    rows[:duplicates] = rows[-duplicates:]
    value = jacob_cov_of(rows)
    assert math.isfinite(value) and value == pytest.approx(-1e5 * duplicates, rel=1e-3)


def test_opposite_rows_are_as_bad_as_equal_ones_and_size_is_not_seen():
    rows = orthogonal_rows(8)
    assert jacob_cov_of(torch.cat([rows, -rows[:1]])) == pytest.approx(-1e5, rel=1e-3)
    assert jacob_cov_of(rows * torch.logspace(-6, 6, 8)[:, None]) == pytest.approx(-8, rel=1e-6)


def test_a_constant_jacobian_is_an_error_not_a_number():
    for rows in (torch.zeros(4, 16), torch.cat([orthogonal_rows(3), torch.ones(1, 16)])):
        with pytest.raises(ProxyError, match="rows of the jacobian are constant"):
            jacob_cov_of(rows)
    blind = nn.Sequential(nn.Flatten(), nn.Linear(48, 4))
    blind[1].weight.data.zero_()
    found = score_all(blind, torch.randn(4, 3, 4, 4), ["jacob_cov"])
    assert found["jacob_cov"] == -math.inf and "do not depend on the images" in found.errors["jacob_cov"]


class Several(nn.Module):
    """Outputs of other shapes than logits: all of them are summed."""

    def __init__(self, inner: nn.Module, wrap):
        super().__init__()
        self.inner, self.wrap = inner, wrap

    def forward(self, x):
        return self.wrap(self.inner(x))


@pytest.mark.parametrize("wrap", [lambda y: (y, [y]), lambda y: {"logits": y, "more": (y,)}], ids=["tuple", "dict"])
def test_several_outputs_are_summed(build, batch, wrap):
    network = build("normalised")
    assert score("jacob_cov", Several(network, wrap), batch) == pytest.approx(score("jacob_cov", network, batch), 1e-6)


def test_a_network_that_normalises_its_input_in_place(build, batch):
    class Normalises(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = build("normalised")

        def forward(self, x):
            x -= 0.1
            return self.inner(x.div_(2))

    images = batch[0].clone()
    found = score_all(
        Normalises(), (images, batch[1]), ["jacob_cov", "snip", "grad_norm"], options={"grad_norm": {"form": "zennas"}}
    )
    assert not found.errors and torch.equal(images, batch[0])
