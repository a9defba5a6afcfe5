"""Which operations of a choice run, what comes out, and where gradients go."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nasedu.sampling import one_hot
from nasedu.supernet.mixed import MixedOp, Subset, dense, running
from nasedu.supernet.telling import told

WEIGHTS = torch.tensor([0.25, 0.0, 0.75])


class Counted(nn.Module):
    """x to c x, with c a parameter; counts its runs."""

    def __init__(self, c: float):
        super().__init__()
        self.c, self.runs = nn.Parameter(torch.tensor(c)), 0

    def forward(self, x):
        self.runs += 1
        return self.c * x


@pytest.fixture
def mixed():
    return MixedOp(Counted(c) for c in (1.0, 10.0, 100.0))


def runs(mixed) -> list[int]:
    return [operation.runs for operation in mixed.operations]


@pytest.mark.parametrize(
    ("entry", "ran", "value"),
    [
        (1, [0, 1, 0], 10.0),
        (True, [0, 1, 0], 10.0),
        (WEIGHTS, [1, 0, 1], 75.25),  # a constant zero is not run
        (one_hot((2,), (3,))[0], [0, 0, 1], 100.0),
        (WEIGHTS.clone().requires_grad_(), [1, 1, 1], 75.25),  # its zero has a gradient
        (Subset((2, 0), torch.tensor([0.5, 0.5])), [1, 0, 1], 50.5),
        (Subset((0, 1), torch.tensor([0.0, 1.0])), [1, 1, 0], 10.0),  # what it names runs, whatever its weight
        (Subset((0, 1), torch.tensor([0.0, 1.0], requires_grad=True)), [1, 1, 0], 10.0),
    ],
)
def test_only_what_is_needed_runs(mixed, entry, ran, value):
    assert float(mixed(torch.ones(()), entry).detach()) == pytest.approx(value)
    assert runs(mixed) == ran


def test_an_index_returns_the_output_itself(mixed):
    """No product with a weight, and no sum: a hard path costs what the network alone costs."""
    x = torch.ones(3)
    mixed.operations[1] = nn.Identity()
    assert mixed(x, 1) is x


def test_gradients_of_the_weights_are_the_outputs_of_all_operations(mixed):
    weights = WEIGHTS.clone().requires_grad_()
    mixed(torch.tensor(2.0), weights).backward()
    assert weights.grad.tolist() == [2.0, 20.0, 200.0]  # the one that weighs nothing has its own, too
    assert [float(op.c.grad) for op in mixed.operations] == [0.5, 0.0, 1.5]


def test_gradients_of_a_subset_and_of_an_index_stay_within(mixed):
    weights = torch.tensor([0.5, 0.5], requires_grad=True)
    mixed(torch.tensor(2.0), Subset((2, 0), weights)).backward()
    assert weights.grad.tolist() == [200.0, 2.0] and mixed.operations[1].c.grad is None
    mixed.zero_grad()
    mixed(torch.tensor(2.0), 1).backward()
    assert [op.c.grad is None for op in mixed.operations] == [True, False, True]


def test_what_runs_is_told(mixed):
    assert running(WEIGHTS)[0] == (0, 2) and [float(w) for w in running(WEIGHTS)[1]] == [0.25, 0.75]
    assert running(WEIGHTS.clone().requires_grad_())[0] == (0, 1, 2)
    assert running(torch.empty(3, device="meta"))[0] == (0, 1, 2)


def test_entries_become_weights_of_all_choices():
    assert dense(2, 3).tolist() == [0, 0, 1] and dense(WEIGHTS, 3) is WEIGHTS
    weights = torch.tensor([0.4, 0.6], requires_grad=True)
    full = dense(Subset((2, 0), weights), 3)
    assert full.tolist() == pytest.approx([0.6, 0, 0.4])
    full[2].backward()
    assert weights.grad.tolist() == [1, 0]


def test_extracted_states_are_copies(mixed):
    state = mixed.extract(2)
    state["c"] += 1
    assert float(mixed.operations[2].c.detach()) == 100.0


def test_an_entry_for_a_gpu_says_itself_what_weighs():
    entry, gpu = torch.tensor([0.25, 0.0, 0.75]), torch.device("meta")
    found = told(entry, gpu)
    assert found.indices == (0, 2) and found.weights.device.type == "meta"
    assert told(2, gpu) == 2 and told(entry, torch.device("cpu")) is entry
    learnt = entry.clone().requires_grad_()
    assert told(learnt, gpu).shape == (3,), "a weight of 0 may have a gradient"
