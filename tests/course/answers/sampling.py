"""Right and plausible wrong answers to the exercises of notebook 05, with the sentence that names the fault."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from nasedu.course.checks.sampling import check_fair_paths, check_lesson, check_statistics


def fair(choices, generator):
    return list(zip(*(torch.randperm(n, generator=generator).tolist() for n in choices), strict=True))


def uniform(choices, generator):
    return [tuple(int(torch.randint(n, (), generator=generator)) for n in choices) for _ in range(choices[0])]


def one_permutation(choices, generator):
    order = torch.randperm(choices[0], generator=generator).tolist()
    return [(i,) * len(choices) for i in order]


def shifted(choices, generator):
    starts = torch.randint(choices[0], (len(choices),), generator=generator).tolist()
    return [tuple((i + s) % choices[0] for s in starts) for i in range(choices[0])]


def in_order(choices, generator):
    return [(i,) * len(choices) for i in range(choices[0])]


def own_randomness(choices, generator):
    return fair(choices, None)


def first_in_order(choices, generator):
    return [(i, *rest) for i, rest in enumerate(fair(choices[1:], generator))]


FAIR = [
    (fair, None),
    (uniform, "exactly one of the K paths"),
    (one_permutation, "permutation of its own"),
    (shifted, "not only shifts"),
    (in_order, "must differ"),
    (first_in_order, "equally likely"),
    (own_randomness, "draw from `generator`"),
    (lambda choices, generator: fair(choices, generator)[:1], "K = 4 paths"),
    (lambda choices, generator: list(zip(*fair(choices, generator), strict=True)), "K = 4 paths"),
]


def solved(student, teacher):
    return -(teacher.detach().softmax(1) * student.log_softmax(1)).sum(1).mean()


LESSONS = [
    (solved, None),
    (lambda s, t: F.cross_entropy(s, t.detach().softmax(1)), None),
    (lambda s, t: F.cross_entropy(s, t.softmax(1)), "detach"),
    (lambda s, t: F.cross_entropy(s, t.detach().argmax(1)), "best class only"),
    (lambda s, t: -(t.detach().softmax(1) * s.log_softmax(1)).sum(), "mean over the images"),
    (lambda s, t: -(t.detach().softmax(1) * s.log_softmax(1)).sum(1), "one number"),
    (lambda s, t: -(s.softmax(1) * t.detach().log_softmax(1)).sum(1).mean(), "swapped"),
    (lambda s, t: F.cross_entropy(s, t.detach()), "p = softmax(teacher)"),
    (lambda s, t: F.mse_loss(s, t.detach()), "log q_c"),
    (lambda s, t: solved(s.detach(), t), "differentiable"),
]


def averaged(batches, correction=1):
    flat = [b.transpose(0, 1).flatten(1) for b in batches]
    return torch.stack([f.mean(1) for f in flat]).mean(0), torch.stack(
        [f.var(1, correction=correction) for f in flat]
    ).mean(0)


def moving(batches):
    mean, variance = torch.zeros(2), torch.ones(2)
    for b in batches:
        m, v = averaged([b])
        mean, variance = 0.9 * mean + 0.1 * m, 0.9 * variance + 0.1 * v
    return mean, variance


def started_at_one(batches):
    mean, variance = averaged(batches)
    return mean, (len(batches) * variance + 1) / (len(batches) + 1)


def pooled(batches):
    every = torch.cat(batches).transpose(0, 1).flatten(1)
    return every.mean(1), every.var(1)


STATISTICS = [
    (averaged, None),
    (moving, "order of the batches"),
    (pooled, "average the batches' variances"),
    (started_at_one, "average of the batches' variances"),
    (lambda batches: averaged(batches, correction=0), "unbiased"),
    (lambda batches: averaged(batches[-1:]), "order of the batches"),
    (lambda batches: tuple(x.mean() for x in averaged(batches)), "shape (C,)"),
    (lambda batches: (averaged(batches)[0], averaged(batches)[1].sqrt()), "average of the batches' variances"),
]

ANSWERS = {
    check_fair_paths: FAIR,
    check_lesson: LESSONS,
    check_statistics: STATISTICS,
}
