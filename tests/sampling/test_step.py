"""A step of supernet training: gradients of all paths add up, one optimizer step, a teacher that only teaches."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch.nn import functional as F

from nasedu import spaces
from nasedu.classification import recipe
from nasedu.data import classification
from nasedu.divergence import alpha_divergence, cross_entropy
from nasedu.errors import ParameterError
from nasedu.ranking import RankingLoss, correlation, hamming
from nasedu.sampling import (
    Gates,
    Pairs,
    Sandwich,
    Softmax,
    StrictFairness,
    Uniform,
    samplers,
    supernet_step,
)
from nasedu.sampling.samplers import Pair
from nasedu.tables import LookupTable
from nasedu.task import Classification, fit
from nasedu.training import TrainingConfig, train

BIG, SMALL = (3, 3, 3), (0, 0, 0)
TASK = Classification(None)  # for its losses: the batches here are handed in


def gradient(model) -> torch.Tensor:
    return torch.cat([torch.zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in model.parameters()])


def total(model, losses) -> torch.Tensor:
    """The gradient of all losses, back-propagated as they come."""
    model.zero_grad()
    for part in losses:
        part["total"].backward()
    return gradient(model)


class Fixed:
    """Always the same paths."""

    def __init__(self, paths, distils=False):
        self.fixed, self.distils = paths, distils

    def at(self, fraction):
        return self

    def paths(self, space, generator):
        return self.fixed


@pytest.mark.parametrize("distils", [False, True])
def test_the_gradient_is_the_sum_of_the_paths_own(space, supernet, batch, generator, distils):
    paths = [BIG, SMALL, (1, 2, 3), (0, 3, 0)]
    ours = total(supernet, supernet_step(space, Fixed(paths, distils), TASK)(supernet, batch, generator))
    x, y = batch
    with torch.no_grad():
        teacher = supernet(x, BIG).softmax(1)
    separate = []
    for path in paths:
        supernet.zero_grad()
        target = teacher if distils and path is not BIG else y
        F.cross_entropy(supernet(x, path), target).backward()
        separate.append(gradient(supernet))
    assert torch.allclose(ours, sum(separate), atol=1e-6)
    assert not torch.allclose(ours, sum(separate) / 4, atol=1e-3)  # not the mean


def test_the_teacher_learns_from_labels_alone(space, supernet, batch, generator):
    """What the later paths do not share has no gradient from their losses."""
    first, *later = supernet_step(space, Fixed([BIG, SMALL], distils=True), TASK)(supernet, batch, generator)
    supernet.zero_grad()
    later[0]["total"].backward()
    assert supernet.mixed[0].operations[3].weight.grad is None  # the biggest's own operation
    assert supernet.mixed[0].operations[0].weight.grad is not None
    assert set(first) == {"labels", "total", "error"} and set(later[0]) == {"teacher", "total"}


def test_students_copy_the_teachers_answer_and_not_the_label(space, supernet, batch, generator):
    x, y = batch
    other = x, (y + 1) % 3
    step = supernet_step(space, Fixed([BIG, SMALL], distils=True), TASK)
    losses = [[part["total"].item() for part in step(supernet, b, generator)] for b in (batch, other)]
    assert losses[0][0] != losses[1][0] and losses[0][1] == losses[1][1]
    step = supernet_step(space, Fixed([BIG, SMALL]), TASK)
    losses = [[part["total"].item() for part in step(supernet, b, generator)] for b in (batch, other)]
    assert losses[0][1] != losses[1][1]


def test_labels_are_smoothed(space, supernet, batch, generator):
    plain, smooth = (
        next(supernet_step(space, Fixed([BIG]), Classification(None, label_smoothing=s))(supernet, batch, generator))[
            "total"
        ].item()
        for s in (0.0, 0.3)
    )
    x, y = batch
    expected = F.cross_entropy(supernet(x, BIG), 0.7 * F.one_hot(y, 3) + 0.1)
    assert smooth == pytest.approx(float(expected.detach()), abs=1e-6) and smooth != pytest.approx(plain)


def test_one_optimizer_step_for_k_paths_and_every_choice_trained_once(space, supernet, batch, monkeypatch):
    steps = []
    step = torch.optim.SGD.step
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self, *a: (steps.append(1), step(self, *a))[1])
    config = TrainingConfig(epochs=1, warmup_steps=0)
    runs = {name: 0 for name, _ in supernet.named_modules() if "operations." in name}
    for name in runs:
        supernet.get_submodule(name).register_forward_hook(lambda *_, name=name: runs.__setitem__(name, runs[name] + 1))
    train(supernet, lambda epoch: [batch] * 3, supernet_step(space, StrictFairness(), TASK), config)
    assert len(steps) == 3 and set(runs.values()) == {3} and len(runs) == 12


def test_a_sandwich_trains_and_is_recorded_by_part(space, supernet, batch):
    sampler = Sandwich(BIG, SMALL)
    trained = train(supernet, lambda epoch: [batch] * 5, supernet_step(space, sampler, TASK), recipe(6, warmup_steps=0))
    first, last = trained.history[0], trained.history[-1]
    assert last["labels"] < first["labels"]
    assert last["total"] == pytest.approx((last["labels"] + 3 * last["teacher"]) / 4, rel=1e-5)


def test_logits_of_a_sampler_get_no_gradient_and_only_the_drawn_operation_runs(space, supernet, batch, generator):
    logits = [torch.zeros(n, requires_grad=True) for n in space.choices]
    for sampler, trained in ((Gates(logits), 3), (Softmax(logits), 12)):
        total(supernet, supernet_step(space, sampler, TASK)(supernet, batch, generator))
        assert all(a.grad is None for a in logits)
        got = [op.weight.grad is not None for mixed in supernet.mixed for op in mixed.operations]
        assert sum(got) == trained


@pytest.mark.parametrize("name", samplers.names())
def test_any_sampler_trains_a_real_space(name):
    space = spaces.create("fairnas", num_classes=10, input_size=16, width=0.125, depth=0.25, stem_stride=1)
    images = classification("digits", "train", image_size=16, size=32)
    task = Classification(images, batch_size=16)
    ranking = RankingLoss(LookupTable.build(space, "macs")) if name == "pairs" else None
    step = supernet_step(space, samplers.create(name, space), task, ranking=ranking)
    trained = fit(space.supernet(seed=0), task, recipe(1), step)
    assert trained.history[0]["total"] < 10
    assert len(trained.history) == 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"sampler": "uniform"}, "sampler must be one that sampling.create made, got 'uniform'"),
        ({"sampler": Uniform}, "sampler must be one that sampling.create made, got the class Uniform"),
        ({"task": None}, "the task must be a task.Classification or a task.Detection, got None"),
        ({"task": lambda: 1}, "got function"),
        (
            {"space": spaces.create("plainnet")},
            "space of supernet_step must be .* lists of decisions .* got PlainNetSpace",
        ),
    ],
)
def test_wrong_arguments_are_refused_in_one_sentence(space, wrong, words):
    with pytest.raises(ParameterError, match=words) as caught:
        supernet_step(**{"space": space, "sampler": Uniform(), "task": TASK} | wrong)
    assert len(str(caught.value)) < 300


class Judge:
    """A pair loss that records what it is given."""

    labels = True

    def __init__(self, labels=True):
        self.labels, self.seen = labels, []

    def at(self, fraction):
        return self

    def __call__(self, first, second, archs):
        self.seen.append(archs)
        return 3.0 * (first - second)


class Paired(Pairs):
    """Always the same pair, after the paths of a sampler."""

    def paths(self, space, generator):
        return [*(self.base.paths(space, generator) if self.base else []), Pair(BIG, SMALL)]


@pytest.mark.parametrize("labels", [True, False])
def test_a_pair_adds_the_gradient_of_its_loss_to_that_of_both_networks(space, supernet, batch, generator, labels):
    x, y = batch
    judge = Judge(labels)
    ours = total(supernet, supernet_step(space, Paired(), TASK, ranking=judge)(supernet, batch, generator))
    assert judge.seen == [(BIG, SMALL)]
    first, second = (F.cross_entropy(supernet(x, arch), y) for arch in (BIG, SMALL))
    supernet.zero_grad()
    (3.0 * (first - second) + (first + second if labels else 0.0)).backward()
    assert torch.allclose(ours, gradient(supernet), atol=1e-6)


def test_pairs_come_after_a_sandwich_whose_first_path_teaches(space, supernet, batch, generator):
    step = supernet_step(space, Paired(base=Sandwich(BIG, SMALL, 3)), TASK, ranking=Judge())
    parts = list(step(supernet, batch, generator))
    assert [set(part) for part in parts] == [
        {"labels", "total", "error"},
        {"teacher", "total"},
        {"teacher", "total"},
        {"labels", "ranking", "total"},
    ]


def test_a_teacher_beside_the_supernet_teaches_every_path_that_has_labels(space, supernet, batch, generator):
    """Once-for-All's and the SPOS baseline's: labels and the teacher count alike, and the teacher stays as it is."""
    x, y = batch
    teacher = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    state = {name: value.clone() for name, value in teacher.state_dict().items()}
    step = supernet_step(space, Fixed([BIG, SMALL]), TASK, teacher=teacher)
    ours = total(supernet, step(supernet, batch, generator))
    assert all(p.grad is None for p in teacher.parameters())
    assert all(torch.equal(value, state[name]) for name, value in teacher.state_dict().items()) and teacher.training
    told = teacher.eval()(x).softmax(1).detach()
    supernet.zero_grad()
    for arch in (BIG, SMALL):
        outputs = supernet(x, arch)
        (F.cross_entropy(outputs, y) + F.cross_entropy(outputs, told)).backward()
    assert torch.allclose(ours, gradient(supernet), atol=1e-6)


def test_students_of_a_sandwich_can_learn_by_another_divergence(space, supernet, batch, generator):
    steps = [
        supernet_step(space, Fixed([BIG, SMALL], True), TASK, divergence=d) for d in (cross_entropy, alpha_divergence)
    ]
    losses = [[part["total"].item() for part in step(supernet, batch, generator)] for step in steps]
    assert losses[0][0] == losses[1][0] and losses[0][1] != losses[1][1]
    x, _ = batch
    with torch.no_grad():
        expected = alpha_divergence(supernet(x, BIG).log_softmax(1), supernet(x, SMALL).log_softmax(1)).mean()
    assert losses[1][1] == pytest.approx(float(expected), abs=1e-6)


def test_pairs_and_a_loss_of_pairs_need_each_other(space):
    with pytest.raises(ParameterError, match="pairs need a ranking loss"):
        supernet_step(space, Pairs(), TASK)
    with pytest.raises(ParameterError, match="sampler of pairs"):
        supernet_step(space, Uniform(), TASK, ranking=Judge())


def test_ranking_distillation_makes_a_supernet_follow_its_prior(space, supernet, batch):
    """Taught that the first choice is better, which nothing in the data says, a supernet orders its networks so."""

    def against(arch):
        return -float(sum(arch))

    taus = []
    for weight in (0.0, 5.0):
        taught = copy.deepcopy(supernet)
        sampler = Pairs(2, distance=hamming, above=1)
        step = supernet_step(space, sampler, TASK, ranking=RankingLoss(against, weight=weight, margin=0.2))
        train(taught, lambda epoch: [batch] * 40, step, recipe(4, warmup_steps=0))
        archs = list(itertools.product(range(4), repeat=3))
        with torch.no_grad():
            scores = [-float(F.cross_entropy(taught(batch[0], arch), batch[1])) for arch in archs]
        taus.append(correlation(scores, [against(arch) for arch in archs]).value)
    assert taus[1] > taus[0] + 0.3
