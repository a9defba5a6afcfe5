"""A teacher's answers and maps: what the terms are, that the teacher is left alone, and that a student learns."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nasedu.classification import accuracy, batches, recipe
from nasedu.classification.distill import Distilled, distilled_step
from nasedu.data import ImageSet, classification
from nasedu.errors import ParameterError, UnknownName
from nasedu.task import Classification, fit
from nasedu.training import train


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stage(c_in: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, 2, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True))


class Net(nn.Module):
    """Stages of stride 2, pooling, a classifier."""

    def __init__(self, widths=(4, 6, 8), classes=10):
        super().__init__()
        self.stages = nn.ModuleList([stage(a, b) for a, b in zip((3, *widths[:-1]), widths, strict=True)])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x):
        for each in self.stages:
            x = each(x)
        return self.head(self.pool(x).flatten(1))


def pair(student=(4, 6, 8), teacher=(6, 8, 12), features=4, side=16):
    torch.manual_seed(0)
    net, judge = Net(student), Net(teacher)
    x, y = torch.randn(5, 3, side, side, generator=drawn(1)), torch.arange(5)
    return Distilled(net, judge, x[:1], features=features, generator=drawn(2)), judge, (x, y)


def test_maps_are_matched_by_stride_and_the_pool_is_none_of_them():
    model, _, _ = pair(features=4)
    assert model.pairs == (("stages.1", "stages.1"), ("stages.2", "stages.2"))
    assert [tuple(p.weight.shape) for p in model.projections] == [(8, 6, 1, 1), (12, 8, 1, 1)]
    assert pair(features=8)[0].pairs == (("stages.2", "stages.2"),)
    # a teacher with a stage of stride 16 more: its last map has no partner
    assert pair(teacher=(6, 8, 12, 12), side=32)[0].pairs == (("stages.1", "stages.1"), ("stages.2", "stages.2"))


def test_a_teacher_may_see_the_images_in_another_size():
    """Images come at 32 px, as the teacher wants them; the student is shown 16. Its maps lead, the teacher's follow."""
    torch.manual_seed(0)
    net, judge = Net(), Net((6, 8, 12))
    x, y = torch.randn(5, 3, 32, 32, generator=drawn(1)), torch.arange(5)
    model = Distilled(net, judge, x[:1], features=4, generator=drawn(2), size=16, teacher_size=32)
    # by stride: the student's 4 px at stride 4 stand beside the teacher's 8 px
    assert model.pairs == (("stages.1", "stages.1"), ("stages.2", "stages.2"))
    found = distilled_step(judge)(model, (x, y), drawn())
    small = F.interpolate(x, (16, 16), mode="bilinear", align_corners=False)
    assert torch.equal(model(x), net(small))
    ours, theirs = [small], [x]
    with torch.no_grad():
        judge.eval()
        for a, b in zip(net.stages, judge.stages, strict=True):
            ours.append(a(ours[-1]))
            theirs.append(b(theirs[-1]))
        targets = [F.interpolate(t, o.shape[-2:], mode="bilinear") for t, o in zip(theirs, ours, strict=True)]
        maps = [F.smooth_l1_loss(p(o), t) for p, o, t in zip(model.projections, ours[2:], targets[2:], strict=True)]
        answers = judge(x).softmax(1)
    torch.testing.assert_close(found["feature"].detach(), sum(maps), rtol=1e-4, atol=1e-6)
    assert float(found["logit"].detach()) == pytest.approx(
        float(F.cross_entropy(net(small).detach(), answers)), rel=1e-4
    )


def test_the_terms_are_those_of_the_paper():
    model, judge, (x, y) = pair()
    model.projections[0].weight.data.normal_(generator=drawn(3))
    step = distilled_step(judge, feature_weight=0.5, logit_weight=2.0, temperature=3.0, label_smoothing=0.1)
    losses = step(model.eval(), (x, y), drawn())

    def maps(net):
        found, h = [], x
        for each in net.stages:
            found.append(h := each(h))
        return found[1:], net.head(h.mean((2, 3)))

    judge.eval()
    (ours, logits), (theirs, answers) = maps(model.student), maps(judge)
    label = F.cross_entropy(logits, y, label_smoothing=0.1)
    logit = -((answers / 3).softmax(1) * (logits / 3).log_softmax(1)).sum(1).mean() * 9
    feature = sum(
        F.smooth_l1_loss(project(o), t) for project, o, t in zip(model.projections, ours, theirs, strict=True)
    )
    assert torch.allclose(losses["label"], label) and torch.allclose(losses["logit"], logit, atol=1e-5)
    assert torch.allclose(losses["feature"], feature, atol=1e-5)
    assert torch.allclose(losses["total"], label + 2 * logit + 0.5 * feature, atol=1e-5)


def test_a_student_that_equals_its_teacher_has_nothing_to_learn_from_it():
    model, _, batch = pair(teacher=(4, 6, 8))
    for project in model.projections:
        nn.init.dirac_(project.weight)
    losses = distilled_step(copy.deepcopy(model.student))(model.eval(), batch, drawn())
    assert float(losses["feature"].detach()) < 1e-12
    gradients = torch.autograd.grad(losses["logit"], list(model.student.parameters()), retain_graph=True)
    assert max(float(g.abs().max()) for g in gradients) < 1e-6
    labels = torch.autograd.grad(losses["label"], model.student.head.weight)[0]
    assert float(labels.abs().max()) > 1e-3


def test_the_teacher_is_left_alone_and_gets_no_gradient():
    model, judge, batch = pair()
    judge.train()
    kept, modes = copy.deepcopy(judge.state_dict()), [m.training for m in judge.modules()]
    before = torch.get_rng_state()
    step = distilled_step(judge)
    Distilled(model.student, judge, batch[0][:1], features=4, generator=drawn())
    losses = step(model.train(), batch, drawn())
    losses["total"].backward()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(kept[name], value) for name, value in judge.state_dict().items())
    assert [m.training for m in judge.modules()] == modes
    assert all(p.grad is None and p.requires_grad for p in judge.parameters())
    assert all(p.grad is not None for p in model.parameters())
    assert not any(m._forward_hooks for net in (judge, model) for m in net.modules())


def test_the_teacher_answers_in_eval_mode():
    model, judge, (x, y) = pair(features=())
    judge.train()
    step = distilled_step(judge)
    alone, together = (step(model.eval(), (x[:n], y[:n]), drawn())["logit"] for n in (1, 5))
    each = [step(model, (x[i : i + 1], y[i : i + 1]), drawn())["logit"] for i in range(5)]
    assert torch.allclose(torch.stack(each).mean(), together, atol=1e-5) and torch.allclose(alone, each[0])


def test_layers_by_name_and_maps_of_another_size():
    model, judge, batch = pair(features=["stages.1", ("stages.2", "stages.0.1")])
    assert model.pairs == (("stages.1", "stages.1"), ("stages.2", "stages.0.1"))
    losses = distilled_step(judge)(model, batch, drawn())
    assert torch.isfinite(losses["total"]) and losses["feature"] > 0
    assert pair(features="stages.1")[0].pairs == (("stages.1", "stages.1"),)
    answers = distilled_step(judge)(pair(features=())[0], batch, drawn())
    assert "feature" not in answers and torch.allclose(answers["total"], answers["label"] + answers["logit"])


def test_projections_start_near_zero_and_come_from_the_generator():
    first, again = pair()[0], pair()[0]
    weights = torch.cat([p.weight.detach().flatten() * p.in_channels**0.5 for p in first.projections])
    assert float(weights.std()) == pytest.approx(1e-4, rel=0.2)
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(first.projections, again.projections, strict=True))


def test_bad_teachers_and_layers_are_named():
    x = torch.zeros(1, 3, 16, 16)
    with pytest.raises(ParameterError, match="teacher answers with 7 classes and the student with 10"):
        Distilled(Net(), Net(classes=7), x, features=4, generator=drawn())
    model, judge, batch = pair()
    with pytest.raises(ParameterError, match="teacher answers with 7 classes and the student with 10"):
        distilled_step(Net((6, 8, 12), classes=7))(model, batch, drawn())
    with pytest.raises(UnknownName, match=r"layer of the teacher 'stages.5'"):
        Distilled(Net(), judge, x, features=[("stages.1", "stages.5")], generator=drawn())
    with pytest.raises(ParameterError, match=r"'head' of the student gives no feature map"):
        Distilled(Net(), judge, x, features=["head"], generator=drawn())
    with pytest.raises(ParameterError, match=r"stride 16 or more at 16 pixels \(the student's strides: \[2, 4, 8\]"):
        Distilled(Net(), judge, x, generator=drawn())
    with pytest.raises(ParameterError, match="must be a layer's name or a pair"):
        Distilled(Net(), judge, x, features=[("a", "b", "c")], generator=drawn())
    with pytest.raises(ParameterError, match="trains a Distilled"):
        distilled_step(judge)(Net(), batch, drawn())
    with pytest.raises(ParameterError, match="temperature must be a number above 0"):
        distilled_step(judge, temperature=0.0)
    with pytest.raises(ParameterError, match="teacher must return logits"):
        Distilled(Net(), nn.Conv2d(3, 3, 1), x, features=(), generator=drawn())


def test_a_student_learns_from_answers_alone_and_resumes(tmp_path):
    images = classification("digits", "train", image_size=16, size=600)
    torch.manual_seed(0)
    judge = fit(Net((16, 32, 32)), Classification(images, batch_size=50), recipe(8)).model
    wrong = ImageSet("digits", "train", images.classes, images.images, images.labels.roll(1))  # labels teach nothing

    def run(epochs, state=None):
        torch.manual_seed(1)
        model = Distilled(Net((8, 16, 32)), judge, images.images[:1], features=4, generator=drawn())
        step = distilled_step(judge, logit_weight=50.0, feature_weight=1.0)
        return train(model, batches(wrong, 50), step, recipe(8, save_seconds=0), state=state, progress=stop(epochs))

    def stop(epochs):
        def progress(done, total, note=""):
            if done == epochs:
                raise KeyboardInterrupt

        return progress

    whole = run(99)
    assert accuracy(whole.ema.student, images) > 0.7 and whole.history[-1]["feature"] < whole.history[0]["feature"]
    state = tmp_path / "state.pt"
    with pytest.raises(KeyboardInterrupt):
        run(3, state)
    assert run(99, state).history == whole.history
