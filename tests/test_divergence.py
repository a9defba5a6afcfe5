"""Divergences of distillation: published values, gradients of the surrogate, and both tasks that use them."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from nasedu.divergence import alpha_divergence, cross_entropy
from nasedu.task import Classification

P, Q = torch.tensor([0.7, 0.3]).log(), torch.tensor([0.5, 0.5]).log()


@pytest.mark.parametrize(("alpha", "value"), [(1.0, 0.0822829), (0.0, 0.0871767), (-1.0, 0.0952381)])
def test_golden_values(alpha, value):
    assert float(alpha_divergence(P, Q, (alpha,))) == pytest.approx(value, abs=1e-6)


def test_the_larger_of_both_counts():
    assert float(alpha_divergence(P, Q)) == pytest.approx(0.0952381, abs=1e-6)
    overconfident = torch.tensor([[0.9, 0.1], [0.02, 0.98]]).log()
    sure = torch.tensor([[0.4, 0.6], [0.98, 0.02]]).log()
    both = torch.stack([alpha_divergence(overconfident, sure, (a,)) for a in (-1.0, 1.0)])
    torch.testing.assert_close(alpha_divergence(overconfident, sure), both.max(0).values)
    assert both.argmax(0).tolist() != [0, 0], "one sample each"


def divergence(log_p, log_q, alpha):
    """The definition, in float64 and by autograd."""
    p, q = log_p.exp(), log_q.exp()
    if alpha == 1:
        return (p * (log_p - log_q)).sum(-1)
    if alpha == 0:
        return (q * (log_q - log_p)).sum(-1)
    return ((q * (p / q) ** alpha).sum(-1) - 1) / (alpha * (alpha - 1))


@pytest.mark.parametrize("alpha", [-1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
def test_the_surrogates_gradient_is_autograds_where_nothing_is_clipped(alpha):
    torch.manual_seed(0)
    teacher, student = torch.randn(8, 5).double(), torch.randn(8, 5).double()
    grads = []
    for loss in (partial(divergence, alpha=alpha), partial(alpha_divergence, alphas=(alpha,), clip=1e9)):
        logits = student.clone().requires_grad_()
        value = loss(teacher.log_softmax(-1), logits.log_softmax(-1))
        grads.append(torch.autograd.grad(value.sum(), logits)[0])
        torch.testing.assert_close(value, divergence(teacher.log_softmax(-1), student.log_softmax(-1), alpha))
    torch.testing.assert_close(*grads)
    assert grads[0].abs().max() > 1e-2


def test_what_is_clipped_stays_finite_and_bounded():
    """The student is sure of what the teacher rules out: q / p is e^400."""
    teacher, student = torch.tensor([[200.0, -200.0]]), torch.tensor([[-200.0, 200.0]]).requires_grad_()
    loss = alpha_divergence(teacher.log_softmax(-1), student.log_softmax(-1), (-1.0,)).sum()
    (gradient,) = torch.autograd.grad(loss, student)
    assert float(loss) == pytest.approx(2.0)  # (5 - 1) / 2
    assert gradient.isfinite().all()
    unclipped = alpha_divergence(P, torch.tensor([0.95, 0.05]).log(), (-1.0,), clip=1e9)
    assert alpha_divergence(P, torch.tensor([0.95, 0.05]).log(), (-1.0,), clip=1.2) < unclipped


def test_teachers_get_no_gradient():
    for loss in (cross_entropy, alpha_divergence):
        teacher = torch.randn(3, 4).requires_grad_()
        student = torch.randn(3, 4).requires_grad_()
        loss(teacher.log_softmax(-1), student.log_softmax(-1)).sum().backward()
        assert teacher.grad is None and student.grad.abs().sum() > 0


def test_cross_entropy_is_pytorchs_and_a_task_takes_another():
    torch.manual_seed(1)
    teacher, student = torch.randn(6, 4), torch.randn(6, 4)
    task = Classification(None)
    torch.testing.assert_close(task.distil(student, teacher), F.cross_entropy(student, teacher.softmax(-1)))
    other = task.distil(student, teacher, alpha_divergence)
    expected = alpha_divergence(teacher.log_softmax(-1), student.log_softmax(-1)).mean()
    torch.testing.assert_close(other, expected)
