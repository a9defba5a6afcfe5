"""Binary gates: the published gradient, one-hot values, and pairs that leave other probabilities alone."""

from __future__ import annotations

import pytest
import torch

from nasedu.errors import UnknownName
from nasedu.sampling import binary_gates, renormalise
from nasedu.supernet.mixed import MixedOp, Subset

ALPHA = torch.tensor([0.3, -1.0, 0.9, 0.0], dtype=torch.float64)
OUTPUTS = torch.tensor([1.0, -2.0, 0.5, 4.0], dtype=torch.float64)


def leaf(values=ALPHA) -> torch.Tensor:
    return values.clone().requires_grad_()


class Scale(torch.nn.Module):
    """x to c x; counts how often it ran."""

    def __init__(self, c):
        super().__init__()
        self.c, self.runs = c, 0

    def forward(self, x):
        self.runs += 1
        return self.c * x


def test_the_gradient_of_full_gates_is_the_published_one(generator):
    alpha = leaf()
    (gate,) = binary_gates([alpha], generator)
    gate.retain_grad()
    (gate * OUTPUTS).sum().square().backward()
    p = torch.softmax(ALPHA, 0)
    expected = [sum(gate.grad[j] * p[j] * (float(i == j) - p[i]) for j in range(4)) for i in range(4)]
    assert torch.allclose(alpha.grad, torch.stack(expected), atol=1e-12)
    assert float(alpha.grad.abs().max()) > 0.1 and float(alpha.grad.sum()) == pytest.approx(0, abs=1e-12)
    # dL/dg_k = <dL/dy, o_k>: every operation's output counts, not the active one's alone
    y = float((gate.detach() * OUTPUTS).sum())
    assert torch.allclose(gate.grad, 2 * y * OUTPUTS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_are_exactly_one_hot(generator, dtype):
    for _ in range(200):
        (gate,) = binary_gates([leaf(ALPHA.to(dtype))], generator)
        assert sorted(gate.tolist()) == [0, 0, 0, 1] and gate.dtype == dtype


def test_the_output_is_the_mixture_on_average(generator):
    n = 20_000
    mean = torch.stack(binary_gates([ALPHA] * n, generator)).mean(0)
    p = torch.softmax(ALPHA, 0)
    assert (mean - p).abs().max() < 4 * 0.5 / n**0.5
    assert float(mean @ OUTPUTS) == pytest.approx(float(p @ OUTPUTS), abs=0.07)
    assert abs(float(OUTPUTS.mean() - p @ OUTPUTS)) > 0.07  # drawing uniformly would not pass


def test_what_runs(generator):
    operations = MixedOp(Scale(c) for c in range(4))
    runs = lambda: [operation.runs for operation in operations.operations]  # noqa: E731
    operations(torch.ones(1), binary_gates([ALPHA], generator)[0])
    assert sum(runs()) == 1  # no gradient asked: the active one only
    operations(torch.ones(1), binary_gates([leaf()], generator)[0])
    assert sum(runs()) == 5
    operations(torch.ones(1), binary_gates([leaf()], generator, "two")[0])
    assert sum(runs()) == 7


def test_two_gates_have_the_gradient_of_their_pair_only(generator):
    alpha = leaf()
    (subset,) = binary_gates([alpha], generator, "two")
    i, j = subset.indices
    subset.weights.retain_grad()
    (subset.weights * OUTPUTS[[i, j]]).sum().square().backward()
    q = torch.softmax(ALPHA[[i, j]], 0)  # renormalised over the pair
    g = subset.weights.grad
    assert float(alpha.grad[i]) == pytest.approx(float(q[0] * q[1] * (g[0] - g[1])), abs=1e-12)
    assert float(alpha.grad[j]) == pytest.approx(-float(alpha.grad[i]), abs=1e-12)
    assert int(alpha.grad.count_nonzero()) == 2


def test_pairs_are_drawn_without_replacement_in_proportion(generator):
    """The probability of a pair is p_i p_j / (1 - p_i) + p_j p_i / (1 - p_j); within it, p decides."""
    n, p = 20_000, torch.softmax(ALPHA, 0)
    pairs, active = torch.zeros(4, 4), torch.zeros(4)
    for indices, weights in binary_gates([ALPHA] * n, generator, "two"):
        assert indices[0] < indices[1] and sorted(weights.tolist()) == [0, 1]
        pairs[indices] += 1 / n
        active[indices[int(weights.argmax())]] += 1 / n
    joint = p[:, None] * p / (1 - p[:, None])
    expected = (joint + joint.T).triu(1).float()
    assert (pairs - expected).abs().max() < 0.015
    whole = expected + expected.T
    share = (whole * (p[:, None] / (p[:, None] + p)).float()).sum(1)
    assert (active - share).abs().max() < 0.015


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_two_leave_the_other_probabilities_unchanged(generator, optimizer):
    """Also under momentum and weight decay, which move logits that have no gradient."""
    logits = [leaf(), leaf(ALPHA[:3])]
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    descent = kinds[optimizer](logits, lr=0.3, weight_decay=0.1)
    raw_moved = 0.0
    for _ in range(5):
        before = [a.detach().clone() for a in logits]
        path = binary_gates(logits, generator, "two")
        loss = sum((subset.weights * OUTPUTS[list(subset.indices)]).sum() for subset in path)
        descent.zero_grad()
        loss.backward()
        descent.step()
        raw_moved = max(raw_moved, *(float(_others(a, b, s)) for a, b, s in zip(logits, before, path, strict=True)))
        renormalise(logits, before, path)
        for a, b, subset in zip(logits, before, path, strict=True):
            assert float(_others(a, b, subset)) < 1e-6
            ratio = lambda v, i=subset.indices: v[i[0]] - v[i[1]]  # noqa: E731
            assert abs(float(ratio(a.detach()) - ratio(b))) > 1e-3  # the pair itself has learnt
            assert a.requires_grad and a.is_leaf
    assert raw_moved > 1e-3  # without it they would have moved


def _others(new, old, subset) -> torch.Tensor:
    """The largest change of a probability outside the pair."""
    change = (torch.softmax(new.detach(), 0) - torch.softmax(old, 0)).abs()
    return change[[i for i in range(len(change)) if i not in subset.indices]].max()


def test_far_apart_logits_and_single_choices_do_not_fail(generator):
    steep = torch.tensor([0.0, -500.0, -1000.0])  # softmax is (1, 0, 0) in float32
    (subset,) = binary_gates([steep], generator, "two")
    assert subset.indices == (0, 1) and subset.weights.tolist() == [1, 0]
    for mode in ("full", "two"):
        (entry,) = binary_gates([torch.zeros(1)], generator, mode)
        assert (entry.weights if isinstance(entry, Subset) else entry).tolist() == [1]


def test_the_draws_come_from_the_generator_alone(generator):
    state = torch.get_rng_state()
    first = binary_gates([ALPHA] * 20, generator)
    again = binary_gates([ALPHA] * 20, torch.Generator().manual_seed(0))
    assert torch.equal(torch.stack(first), torch.stack(again)) and torch.equal(torch.get_rng_state(), state)
    with pytest.raises(UnknownName, match="did you mean 'full'"):
        binary_gates([ALPHA], generator, "ful")
