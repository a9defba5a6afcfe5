"""Right and plausible wrong answers to the exercises of notebook 06, with the sentence that names the fault."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import one_hot

from nasedu.course.checks.gradient import (
    check_curvature,
    check_hard_gumbel,
    check_keep_others,
    check_reinforce,
    check_sound,
    check_stop,
)


def hard_gumbel(alpha, noise, temperature):
    soft = ((alpha + noise) / temperature).softmax(0)
    return one_hot(soft.argmax(), len(soft)).float() + (soft - soft.detach())


def without_noise(alpha, noise, temperature):
    soft = (alpha / temperature).softmax(0)
    return one_hot((alpha + noise).argmax(), len(soft)).float() + (soft - soft.detach())


def without_temperature(alpha, noise, temperature):
    return hard_gumbel(alpha, noise, 1.0)


def rounded(alpha, noise, temperature):
    soft = ((alpha + noise) / temperature).softmax(0)
    return one_hot(soft.argmax(), len(soft)).float() + 0.01 * soft


def apart(alpha, noise, temperature, *, soft=None, best=None):
    """The 1 where `best` is largest, the slope of softmax(soft): each may be another one than asked for."""
    sum_of = alpha + noise
    soft = (sum_of / temperature if soft is None else soft).softmax(0)
    return one_hot((sum_of if best is None else best).argmax(), len(soft)).float() + (soft - soft.detach())


def above_half(alpha, noise, temperature):
    soft = ((alpha + noise) / temperature).softmax(0)
    return (soft > 0.5).float() + (soft - soft.detach())


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, soft):
        return one_hot(soft.argmax(), len(soft)).to(soft.dtype)

    @staticmethod
    def backward(ctx, slope):
        return slope


HARD = [
    (hard_gumbel, None),
    (lambda a, z, t: Straight.apply(((a + z) / t).softmax(0)), None),
    (lambda a, z, t: apart(a, z, t, soft=2 * (a + z)), "the slope must be that of"),
    (lambda a, z, t: apart(a, z, t, soft=a / t + z), "the slope must be that of"),
    (lambda a, z, t: apart(a, z, t, best=a / t + z), "belongs where alpha + noise"),
    (lambda a, z, t: apart(a, z, t, best=torch.eye(len(a))[2]), "belongs where alpha + noise"),
    (above_half, "exactly 0 and 1"),
    (lambda a, z, t: hard_gumbel(a + z, 0 * z, t), None),
    (lambda a, z, t: hard_gumbel(a, z, t).detach(), "no gradient"),
    (lambda a, z, t: ((a + z) / t).softmax(0), "exactly 0 and 1"),
    (lambda a, z, t: a.softmax(0), "still soft"),
    (lambda a, z, t: hard_gumbel(a, 0 * z, t), "the noise decides"),
    (without_noise, "feel the noise"),
    (without_temperature, "divide by the temperature"),
    (rounded, "exactly 0 and 1"),
    (lambda a, z, t: hard_gumbel(a, z, t).sum(), "the shape of alpha"),
]


def renormalised(before, after, pair):
    got = after.clone()
    got[pair] -= after[pair].logsumexp(0) - before[pair].logsumexp(0)
    return got


def by_mean(before, after, pair):
    got = after.clone()
    got[pair] -= (after[pair] - before[pair]).mean()
    return got


def log_probabilities(before, after, pair):
    return renormalised(before, after, pair).log_softmax(0)


def in_place(before, after, pair):
    after[pair] -= after[pair].logsumexp(0) - before[pair].logsumexp(0)
    return after


def divided(before, after, pair):
    got = after.clone()
    got[pair] /= after[pair].exp().sum() / before[pair].exp().sum()
    return got


def rescaled(before, after, pair):
    """By the share of each of the pair in what the pair had before: a right answer."""
    return before.scatter(0, pair, before[pair].logsumexp(0) + after[pair].log_softmax(0))


def one_and_two(before, after, pair):
    return renormalised(before, after, torch.tensor([1, 2]))


def neighbours(before, after, pair):
    return renormalised(before, after, torch.arange(pair.min(), pair.max() + 1))


def only_down(before, after, pair):
    got = after.clone()
    got[pair] -= (after[pair].logsumexp(0) - before[pair].logsumexp(0)).clamp(min=0)
    return got


def by_exponentials(before, after, pair):
    got = after.clone()
    got[pair] -= torch.log(after[pair].exp().sum() / before[pair].exp().sum())
    return got


KEPT = [
    (renormalised, None),
    (rescaled, None),
    (lambda *given: renormalised(*given).tolist(), None),
    (one_and_two, "the pair 3 and 0"),
    (neighbours, "the pair 3 and 0"),
    (only_down, "less probable"),
    (by_exponentials, "overflows"),
    (lambda before, after, pair: after, "must stay as they were"),
    (lambda before, after, pair: before, "within the pair must remain"),
    (by_mean, "must stay as they were"),
    (divided, "must stay as they were"),
    (log_probabilities, "leave the other logits alone"),
    (in_place, "do not change `after`"),
    (lambda before, after, pair: renormalised(before, after, pair)[pair], "shape of `before`"),
]


def scored(alpha, drawn, advantage):
    p = alpha.softmax(0)
    return ((one_hot(drawn, len(p)) - p) * advantage[:, None]).mean(0)


def leave_one_out(alpha, drawn, losses):
    return scored(alpha, drawn, losses - (losses.sum() - losses) / (len(losses) - 1))


def through_autograd(alpha, drawn, losses):
    free = alpha.clone().requires_grad_()
    advantage = losses - (losses.sum() - losses) / (len(losses) - 1)
    return torch.autograd.grad((free.log_softmax(0)[drawn] * advantage).mean(), free)[0]


REINFORCED = [
    (leave_one_out, None),
    (through_autograd, None),
    (lambda a, d, losses: scored(a, d, losses - losses.roll(1)), None),
    (lambda a, d, losses: leave_one_out(a.float(), d, losses.float()), None),
    (lambda a, d, losses: leave_one_out(a.requires_grad_(), d, losses).tolist(), None),
    (lambda a, d, losses: scored(a, d, losses - (losses.sum() - losses) / 2), "no estimate may change"),
    (lambda a, d, losses: leave_one_out(a, d, losses) * len(d) / 3, "biased"),
    (lambda a, d, losses: leave_one_out(a[:3], d, losses), "your answer raised"),
    (lambda a, d, losses: (leave_one_out(a, d, losses), losses.zero_())[0], "must stay as it was"),
    (scored, "lower the variance"),
    (lambda a, d, losses: scored(a, d, losses - losses.mean()), "leave it out"),
    (lambda a, d, losses: scored(a, d, losses - losses.min()), "biased"),
    (lambda a, d, losses: len(d) * leave_one_out(a, d, losses), "not their sum"),
    (lambda a, d, losses: -leave_one_out(a, d, losses), "the slope itself"),
    (lambda a, d, losses: scored(a, d, losses - 2.4), "no estimate may change"),
    (lambda a, d, losses: leave_one_out(a, d, losses) * (1 - a.softmax(0)), "biased"),
    (lambda a, d, losses: leave_one_out(a, d, losses)[0], "the shape of alpha"),
]

STARTS = [torch.tensor([0.3, -0.2, 0.8]), torch.tensor([0.7, -0.4])]
BATCHES = [(torch.randn(6, 3, generator=torch.Generator().manual_seed(i)), torch.arange(6.0) - 2 * i) for i in (0, 1)]


def free(tensor):
    return tensor.clone().requires_grad_()


def by_reference(step, loss, w=STARTS[0], a=STARTS[1]):
    own, held_out = BATCHES
    of_logits = free(a)
    new_a = a - 0.1 * torch.autograd.grad(loss(w, of_logits, held_out), of_logits)[0]
    of_weights = free(w)
    new_w = w - 0.1 * torch.autograd.grad(loss(of_weights, new_a, own), of_weights)[0]
    found = step(w, a, own, held_out)
    return all(torch.allclose(x, y, atol=1e-5) for x, y in zip(found, (new_w, new_a), strict=True))


def logits_alone(step, loss):
    """It looks at what the logits learn from, and at nothing else."""
    own, held_out = BATCHES
    same = torch.equal(step(*STARTS, own, held_out)[1], step(*STARTS, held_out, held_out)[1])
    return same and not torch.equal(step(*STARTS, own, own)[1], step(*STARTS, own, held_out)[1])


def weights_alone(step, loss):
    own, held_out = BATCHES
    w, a = step(*STARTS, own, held_out)
    of_weights = free(STARTS[0])
    return torch.allclose(w, STARTS[0] - 0.1 * torch.autograd.grad(loss(of_weights, a, own), of_weights)[0])


def old_logits(step, loss):
    of_weights = free(STARTS[0])
    new_w = STARTS[0] - 0.1 * torch.autograd.grad(loss(of_weights, STARTS[1], BATCHES[0]), of_weights)[0]
    return torch.allclose(step(*STARTS, *BATCHES)[0], new_w)


def closely(step, loss, *, tolerance=1e-5, sides=(0, 1), new=True):
    """As `by_reference`, with a tolerance, and on one side only where `sides` says so."""
    of_logits, of_weights = free(STARTS[1]), free(STARTS[0])
    new_a = STARTS[1] - 0.1 * torch.autograd.grad(loss(STARTS[0], of_logits, BATCHES[1]), of_logits)[0]
    new_w = STARTS[0] - 0.1 * torch.autograd.grad(loss(of_weights, new_a, BATCHES[0]), of_weights)[0]
    found = step(*STARTS, *BATCHES)
    return all(torch.allclose(found[i], (new_w, new_a)[i], atol=tolerance) for i in sides)


def goes_down(step, loss):
    (w, a), (own, held_out) = STARTS, BATCHES
    new_w, new_a = step(w, a, own, held_out)
    return bool(loss(w, new_a, held_out) < loss(w, a, held_out) and loss(new_w, new_a, own) < loss(w, new_a, own))


SOUND = [
    (closely, None),
    (lambda step, loss: torch.tensor(closely(step, loss)), None),
    (lambda step, loss: closely(step, loss, tolerance=0.01), "0.105 times their slope"),
    (lambda step, loss: closely(step, loss, sides=(0,)), "returns the old logits"),
    (lambda step, loss: closely(step, loss, sides=(1,)), "weights learn from the images of the logits"),
    (goes_down, "you let a step pass"),
    (by_reference, None),
    (lambda step, loss: int(by_reference(step, loss)), None),
    (lambda step, loss: True, "logits learn from the images of the weights"),
    (lambda step, loss: False, "reject a step that is sound"),
    (logits_alone, "weights learn from the images of the logits"),
    (weights_alone, "logits learn from the images of the weights"),
    (old_logits, "reject a step that is sound"),
    (lambda step, loss: "sound", "True or False"),
]


def central(slope, w, v, reach=0.01):
    step = reach / v.norm()
    return (slope(w + step * v) - slope(w - step * v)) / (2 * step)


def forward(slope, w, v):
    step = 0.01 / v.norm()
    return (slope(w + step * v) - slope(w)) / step


def fixed_step(slope, w, v):
    return (slope(w + 0.001 * v) - slope(w - 0.001 * v)) / 0.002


def moved_and_back(slope, w, v):
    """Moves w itself, and puts it back: a right answer."""
    start, epsilon = w.clone(), 0.01 / v.norm()
    ahead = slope(w.add_(epsilon * v))
    behind = slope(w.sub_(2 * epsilon * v))
    w.copy_(start)
    return (ahead - behind) / (2 * epsilon)


CURVED = [
    (central, None),
    (moved_and_back, None),
    (lambda slope, w, v: (v.norm() * central(slope, w, v / v.norm())).tolist(), None),
    (lambda slope, w, v: central(slope, w, v, reach=0.001), "you moved the weights"),
    (lambda slope, w, v: central(slope, w, v, reach=0.01 * v.norm() / v.abs().sum()), "you moved the weights"),
    (lambda slope, w, v: central(slope, w, v, reach=0.01 / w.norm()), "you moved the weights"),
    (lambda slope, w, v: central(slope, w, v, reach=0.01 * v.norm() / 4.272), "as much more"),
    (lambda slope, w, v: central(slope, w, v, reach=1.0), "you moved the weights"),
    (fixed_step, "you moved the weights"),
    (lambda slope, w, v: -central(slope, w, v), "not the other way round"),
    (lambda slope, w, v: 2 * central(slope, w, v), "2 ε apart"),
    (lambda slope, w, v: central(slope, w, v).sum(), "one number per logit"),
    (lambda slope, w, v: central(slope, w, v) + 0 * slope(w), "two passes are the price"),
    (lambda slope, w, v: central(slope, w, v) * 1.1, "the slope's change along v"),
    (forward, "step to both sides"),
]


def first_crowd(skip):
    crowds = ((skip > 0.5).sum(1) > 2).nonzero()
    return int(crowds[0]) if len(crowds) else len(skip)


def by_loop(skip):
    for epoch, row in enumerate(skip):
        if sum(float(p) > 0.5 for p in row) > 2:
            return epoch
    return len(skip)


def ever_skipped(skip):
    """Counts the edges that took skip in any epoch so far."""
    return first_crowd((skip > 0.5).cummax(0).values.float())


def exactly_three(skip):
    crowds = ((skip > 0.5).sum(1) == 3).nonzero()
    return int(crowds[0]) if len(crowds) else len(skip)


def last_calm(skip):
    return int(((skip > 0.5).sum(1) <= 2).nonzero()[-1]) + 1


def with_ties(skip):
    crowds = ((skip >= 0.5).sum(1) > 2).nonzero()
    return int(crowds[0]) if len(crowds) else len(skip)


def strict(skip):
    crowds = ((skip > 0.5).sum(1) >= 2).nonzero()
    return int(crowds[0]) if len(crowds) else len(skip)


STOPS = [
    (first_crowd, None),
    (by_loop, None),
    (lambda skip: torch.tensor(first_crowd(skip)), None),
    (lambda skip: np.int64(by_loop(skip)), None),
    (ever_skipped, "if they change places"),
    (lambda skip: first_crowd(((skip >= 0.5) & (skip.std(1) > 0)[:, None]).float()), "beside edges that are decided"),
    (lambda skip: first_crowd(skip - 0.05), "however little"),
    (exactly_three, "too many as well"),
    (lambda skip: first_crowd(skip) or len(skip), "then the answer is 0"),
    (lambda skip: min(3 + first_crowd(skip[3:]), len(skip)), "however little"),
    (last_calm, "cannot look ahead"),
    (with_ties, "a tie is no skip"),
    (strict, "two skips are allowed"),
    (lambda skip: first_crowd(skip) + 1, "two skips are allowed"),
    (lambda skip: min(first_crowd(skip), 6), "the last epoch before the third skip"),
    (lambda skip: len(skip), "stop before the epoch"),
    (lambda skip: first_crowd(skip) - (len(skip) > 6), "the last epoch before the third skip"),
]

ANSWERS = {
    check_hard_gumbel: HARD,
    check_keep_others: KEPT,
    check_reinforce: REINFORCED,
    check_sound: SOUND,
    check_curvature: CURVED,
    check_stop: STOPS,
}
