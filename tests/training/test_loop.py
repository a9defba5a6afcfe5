"""The training loop: it learns, averages as told, and a kill at any epoch changes nothing."""

from __future__ import annotations

import copy
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from nasedu.errors import ParameterError, TrainingDiverged, TrainingStopped, UnknownName
from nasedu.hardware.latency import fixed_threads
from nasedu.randomness import seeded
from nasedu.training import TrainingConfig, side_by_side, train
from nasedu.training.loop import together
from nasedu.training.schedule import schedule

CONFIG = TrainingConfig(epochs=6, lr=0.05, warmup_steps=5, ema_ramp=5, ema_decay=0.9, save_seconds=0)


class Killed(Exception):
    pass


def task(seed=0):
    """A regression whose batches depend on the epoch and whose step draws noise."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))

    def batches(epoch):
        generator = torch.Generator().manual_seed(epoch)
        for _ in range(10):
            x = torch.randn(16, 4, generator=generator)
            yield x, x.sum(1, keepdim=True)

    def step(model, batch, generator):
        x, y = batch
        noise = 0.01 * torch.randn(x.shape, generator=generator)
        loss = (model(x + noise) - y).square().mean()
        return {"squared": loss, "total": loss}

    return model, batches, step


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_it_learns(optimizer):
    config = TrainingConfig(**vars(CONFIG) | {"optimizer": optimizer, "lr": 0.02, "warmup_bias_lr": 0.02})
    trained = train(*task(), config)
    assert trained.history[-1]["total"] < 0.3 * trained.history[0]["total"]
    assert [record["epoch"] for record in trained.history] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("how", ["compile", "checkpoint"])
def test_a_compiled_or_checkpointed_training_learns_the_same(how, monkeypatch):
    compiled = []

    def compile_(function, **options):
        compiled.append(function)
        return torch_compile(function, backend="aot_eager", **options)

    torch_compile = torch.compile
    monkeypatch.setattr(torch, "compile", compile_)
    config = replace(CONFIG, epochs=2)
    plain, told = train(*task(), config), train(*task(), replace(config, **{how: True}))
    assert len(compiled) == (how == "compile")
    for one, other in zip(plain.history, told.history, strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    for trained in (told.model, told.ema):
        assert not any("forward" in vars(part) for part in trained.modules())
    for one, other in zip(plain.ema.state_dict().values(), told.ema.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_compiled_training_that_fails_leaves_the_model_as_it_was(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: lambda x: 1 / 0)
    model, *rest = task()
    with pytest.raises(ZeroDivisionError):
        train(model, *rest, replace(CONFIG, compile=True))
    assert model(torch.zeros(2, 4)).shape == (2, 1)


def test_how_a_model_runs_is_checked():
    with pytest.raises(ParameterError, match="compile of a training must be true or false, got 'yes'"):
        TrainingConfig(compile="yes")
    with pytest.raises(ParameterError, match="compiled or checkpointed, not both"):
        TrainingConfig(compile=True, checkpoint=True)


def test_without_a_clip_no_norm_is_computed(monkeypatch):
    monkeypatch.setattr(nn.utils, "clip_grad_norm_", lambda *_: 1 / 0)
    train(*task(), replace(CONFIG, epochs=1, clip=math.inf))


@pytest.mark.parametrize("kill_after", [1, 3, 5])
def test_a_killed_training_ends_where_it_would_have_ended(tmp_path, kill_after):
    def kill(done, total, note=""):
        if done == kill_after:
            raise Killed

    state = tmp_path / "state.pt"
    with pytest.raises(Killed):
        train(*task(), CONFIG, state=state, progress=kill)
    heard = []
    resumed = train(*task(), CONFIG, state=state, progress=lambda *said: heard.append(said))
    whole = train(*task(), CONFIG)
    assert [said[:2] for said in heard] == [(done, 6) for done in range(kill_after + 1, 7)]
    assert heard[-1][2] == f"loss {whole.history[-1]['total']:.4g}" and resumed.history == whole.history
    for ours, theirs in ((resumed.model, whole.model), (resumed.ema, whole.ema)):
        for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
            assert torch.equal(a, b)


class Dropping(nn.Module):
    """A layer of one's own that draws, as nn.Dropout does."""

    def forward(self, x):
        return nn.functional.dropout(x, 0.3, self.training)


def dropping(seed=0, layer=nn.Dropout):
    model, batches, step = task(seed)
    model.insert(3, layer())
    return model, batches, step


def test_what_layers_draw_survives_a_kill_and_depends_on_nothing_else(tmp_path):
    def kill(done, total, note=""):
        torch.rand(7)
        if done == 2:
            raise Killed

    whole = train(*dropping(), CONFIG)
    with pytest.raises(Killed):
        train(*dropping(), CONFIG, state=tmp_path / "s.pt", progress=kill)
    model = dropping()
    torch.rand(3)
    before = torch.get_rng_state()
    resumed = train(*model, CONFIG, state=tmp_path / "s.pt")
    assert resumed.history == whole.history and torch.equal(torch.get_rng_state(), before)
    weights = [list(trained.model.parameters()) for trained in (resumed, whole)]
    assert all(map(torch.equal, *weights))
    assert train(*dropping(), CONFIG, seed=1).history != whole.history


@pytest.mark.parametrize("layer", [nn.Dropout, Dropping])
def test_layers_that_draw_take_turns_side_by_side(layer):
    names = {f"{seed}": dropping(seed, layer) for seed in range(4)}
    with fixed_threads(1):
        alone = {name: train(*dropping(int(name), layer), CONFIG).history for name in names}
    together = side_by_side(lambda name: train(*names[name], CONFIG), names)
    assert {name: trained.history for name, trained in together.items()} == alone


def test_trainings_without_such_layers_do_not_wait_for_each_other():
    """From an epoch's second step on, the random state is free: a batch may be made of it in another thread."""

    def step(model, batch, generator):
        taken.append(not threads.submit(seeded_elsewhere).exception(timeout=30) if free else None)
        free.append(True)
        return {"total": (model(batch[0]) - batch[1]).square().mean()}

    def seeded_elsewhere():
        with seeded(0):
            return torch.rand(1)

    free, taken = [], []
    with ThreadPoolExecutor(1) as threads:
        model, batches, _ = task()
        train(model, batches, step, replace(CONFIG, epochs=1))
    assert taken == [None] + 9 * [True]


def test_networks_trained_side_by_side_come_out_as_alone():
    torch.manual_seed(0)
    tasks = {name: task(seed) for seed, name in enumerate("abc")}
    with fixed_threads(1):  # as side by side: another number of threads sums in another order
        alone = {name: train(*task(seed), CONFIG).history for seed, name in enumerate("abc")}
    together = side_by_side(lambda name: train(*tasks[name], CONFIG), tasks)
    assert {name: trained.history for name, trained in together.items()} == alone


def test_a_failure_stops_the_trainings_beside_it():
    ends = {}

    def train_one(name):
        model, batches, step = task()
        try:
            return train(model, batches, diverge if name == "b" else step, TrainingConfig(epochs=10_000))
        except Exception as error:
            ends[name] = type(error)
            raise

    with pytest.raises((TrainingDiverged, TrainingStopped)):
        side_by_side(train_one, ["b", "a"])
    assert ends["b"] is TrainingDiverged and ends.get("a", TrainingStopped) is TrainingStopped


def diverge(model, batch, generator):
    return {"total": model(batch[0]).sum() * math.inf}


def with_noise(scale, hook=None):
    """A step that closes over a number and a hook."""

    def step(model, batch, generator):
        loss = (model(batch[0]) - batch[1]).square().mean() * scale
        return {"total": hook(loss) if hook else loss}

    return step


def on(data):
    """Batches that are always the same."""
    return lambda epoch: [(data, data.sum(1, keepdim=True))] * 3


class Counted:
    """What a step may change beside a model."""

    def __init__(self, start=0):
        self.start = self.steps = start

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


def test_a_changed_training_starts_afresh_and_says_so(tmp_path, capsys):
    """Another optimizer, seed, step, closure, hook, model or data: never the old result, as once it was."""
    data = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0))
    other = data.clone()
    other[1000, 1] += 1
    changes = [
        {"config": replace(CONFIG, optimizer="adamw", lr=0.01)},
        {"config": replace(CONFIG, lr=0.5, clip=1.0)},
        {"seed": 7},
        {"step": with_noise(1.0)},
        {"step": with_noise(2.0)},
        {"step": with_noise(2.0, hook=lambda loss: loss + 1)},
        {"step": with_noise(2.0, hook=lambda loss: loss + 2)},
        {"batches": on(data)},
        {"batches": on(other)},
        {"model": task(seed=1)[0]},
        {"beside": Counted()},
        {"beside": Counted(1)},
    ]
    model, batches, step = task()
    first = {"model": model, "batches": batches, "step": step, "config": CONFIG}

    def run(change, state):
        asked = copy.deepcopy(first | change)
        trained = train(**asked, state=state)
        return trained.history, torch.cat([p.detach().flatten() for p in trained.model.parameters()])

    state = tmp_path / "state.pt"
    run({}, state)
    for change in changes:
        capsys.readouterr()
        found, alone = run(change, state), run(change, None)
        assert found[0] == alone[0] and torch.equal(found[1], alone[1]), change
        assert capsys.readouterr().out.startswith("state.pt was stored with other settings, code or data"), change
        assert run(change, state)[0] == found[0] and capsys.readouterr().out == "", change


def test_an_interrupted_training_leaves_the_model_as_it_was_and_the_same_call_goes_on(tmp_path):
    def interrupt(done, total, note=""):
        if done == 3:
            raise KeyboardInterrupt

    (model, batches, step), beside = task(), Counted()
    model[1].eval()
    before = copy.deepcopy(model.state_dict())

    def counting(model, batch, generator):
        beside.steps += 1
        return step(model, batch, generator)

    with pytest.raises(KeyboardInterrupt):
        train(model, batches, counting, CONFIG, state=tmp_path / "s.pt", beside=beside, progress=interrupt)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert beside.steps == 0 and not model[1].training and model[0].training
    heard = []
    follow = lambda done, total, note="": heard.append(done)  # noqa: E731
    trained = train(model, batches, counting, CONFIG, state=tmp_path / "s.pt", beside=beside, progress=follow)
    assert heard == [4, 5, 6] and beside.steps == 60
    assert trained.history == train(*task(), CONFIG).history


def test_average_forgets_early_weights_quickly_and_averages_statistics():
    """After one step the decay is ema_decay * (1 - exp(-1 / ramp)); after many it is ema_decay."""
    seen = []
    model = nn.BatchNorm1d(1)
    model.weight.data.fill_(0.0)

    def step(model, batch, generator):
        seen.append(float(model.weight.detach()))
        model(torch.randn(8, 1, generator=generator) + 5)
        return {"total": (model.weight - 1).square().sum()}

    config = TrainingConfig(epochs=1, lr=0.1, momentum=0, warmup_momentum=0, warmup_steps=0, ema_decay=0.8, ema_ramp=3)
    config = TrainingConfig(**vars(config) | {"optimizer": "adamw"})
    trained = train(model, lambda epoch: range(5), step, config)
    weights, average = [*seen[1:], float(trained.model.weight.detach())], None
    for t, weight in enumerate(weights):
        decay = 0.8 * (1 - math.exp(-(t + 1) / 3))
        average = weight if average is None else decay * average + (1 - decay) * weight
    assert float(trained.ema.weight.detach()) == pytest.approx(average, rel=1e-4)
    assert 0 < float(trained.ema.running_mean) < float(trained.model.running_mean)


def test_schedule_warms_up_and_ends_at_its_fraction():
    config = TrainingConfig(epochs=100, warmup_steps=1000)
    assert schedule(config, 0, 0) == (0.0, 0.1, 0.9)
    assert schedule(config, 1000, 0) == pytest.approx((0.01, 0.01, 0.937))
    assert schedule(config, 5000, 100)[0] == pytest.approx(0.002)
    assert schedule(config, 500, 0)[0] == pytest.approx(0.005)


def test_biases_and_norms_do_not_decay():
    model = task()[0]
    before = {k: v.clone() for k, v in model.named_parameters()}

    def step(model, batch, generator):
        return {"total": 0.0 * sum(p.sum() for p in model.parameters())}

    train(model, lambda epoch: range(3), step, TrainingConfig(epochs=1, lr=0.1, warmup_steps=0, weight_decay=0.1))
    for name, value in model.named_parameters():
        assert torch.equal(value, before[name]) == (value.ndim == 1)


def test_bad_settings_and_divergence():
    whole = {"epochs": (1.5, -1, True, "3"), "warmup_steps": (0.5, -1)}
    above = dict.fromkeys(("lr", "clip", "ema_ramp"), (0, math.nan, -math.inf, "0.1"))
    least = dict.fromkeys(("weight_decay", "ema_decay", "momentum", "final_lr", "warmup_bias_lr"), (-1, math.nan, None))
    for kind, bad in (("whole number from 0", whole), ("number above 0", above), ("number of at least 0.*", least)):
        for name, value in ((name, value) for name, values in bad.items() for value in values):
            with pytest.raises(ParameterError, match=f"^{name} must be a {kind}, got {value!r}"):
                TrainingConfig(**{name: value})
    for name in ("momentum", "warmup_momentum", "ema_decay"):
        with pytest.raises(ParameterError, match=f"^{name} must be a number of at least 0 and at most 1, got 1.5"):
            TrainingConfig(**{name: 1.5})
    assert TrainingConfig(clip=math.inf).clip == math.inf, "a gradient that is left alone"
    with pytest.raises(UnknownName, match="did you mean 'adamw'"):
        TrainingConfig(optimizer="adamww")
    model, batches, _ = task()
    with pytest.raises(TrainingDiverged, match="epoch 1"):
        train(model, batches, diverge, CONFIG)

    def steep(model, batch, generator):
        return {"total": (0 * model(batch[0])).sum().sqrt()}

    with pytest.raises(TrainingDiverged, match="the weights are not finite in epoch 1"):  # the loss is 0 throughout
        train(task()[0], lambda epoch: [next(batches(0))], steep, CONFIG)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batches": lambda epoch: []}, "there is no batch in epoch 1"),
        (
            {"step": lambda *_: {"loss": torch.ones((), requires_grad=True)}},
            'a dictionary .* with a "total" .* got {\'loss',
        ),
        ({"step": lambda *_: torch.ones(2, requires_grad=True)}, r"at least one, got tensor"),
        ({"step": lambda *_: None}, "at least one, got None"),
        ({"step": lambda *_: 0.5}, "at least one, got 0.5"),
        ({"step": lambda *_: "ab"}, "at least one, got 'a'"),
        ({"seed": None}, "seed must be a whole number from 0, got None"),
        ({"model": nn.Flatten()}, "this Flatten has no parameters to train"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(change, message):
    model, batches, step = task()
    with pytest.raises(ParameterError, match=message):
        train(**{"model": model, "batches": batches, "step": step, "config": CONFIG} | change)


def parts(*weights):
    """A step in parts: one squared error per weight."""

    def step(model, batch, generator):
        x, y = batch
        for k, weight in enumerate(weights):
            loss = weight * (model(x) - y).square().mean()
            yield {"total": loss, f"part{k}": loss}

    return step


def test_a_step_in_parts_adds_its_gradients_up_and_steps_once():
    """Two parts are one part with twice the loss: SGD with momentum, decay and clipping must come out the same."""
    models = []
    for step in (parts(1.0, 2.0), parts(3.0), one_part(3.0)):
        model, batches, _ = task()
        model[1] = nn.Identity()  # its statistics would see every batch twice
        trained = train(model, batches, step, TrainingConfig(**vars(CONFIG) | {"clip": 0.5}))
        models.append((torch.cat([p.flatten() for p in trained.model.parameters()]).detach(), trained.history))
    (two, history), (one, _), (plain, _) = models
    assert torch.equal(one, plain) and torch.allclose(two, one, atol=1e-5)
    for record in history:  # means over the parts that have the name
        assert record["part1"] == pytest.approx(2 * record["part0"], rel=1e-5)
        assert record["total"] == pytest.approx(1.5 * record["part0"], rel=1e-5)


def one_part(weight):
    def step(model, batch, generator):
        return {"total": weight * (model(batch[0]) - batch[1]).square().mean()}

    return step


def test_a_part_is_back_propagated_before_the_next_is_computed():
    model, batches, _ = task()
    seen = []

    def step(model, batch, generator):
        for _ in range(3):
            yield {"total": (model(batch[0]) - batch[1]).square().mean()}
            seen.append(float(model[0].weight.grad.norm()))

    before = model[0].weight.clone()
    train(model, lambda epoch: [next(batches(0))], step, TrainingConfig(epochs=1, warmup_steps=0))
    assert seen == pytest.approx([seen[0], 2 * seen[0], 3 * seen[0]], rel=1e-4)
    assert not torch.equal(model[0].weight, before)


def test_gradients_left_behind_before_the_first_loss_do_not_count():
    """A step that updates something else first, as bilevel search does, has gradients of its own."""

    def bilevel(model, batch, generator):
        (100 * model(batch[0]).sum()).backward()
        return one_part(1.0)(model, batch, generator)

    ends = []
    for step in (bilevel, one_part(1.0)):
        model, batches, _ = task()
        model[1] = nn.Identity()
        train(model, batches, step, CONFIG)
        ends.append(model[0].weight.detach().clone())
    assert torch.equal(*ends)


def test_a_training_that_has_nothing_left_to_do_leaves_the_same_mode(tmp_path):
    for _ in range(2):
        model, batches, step = task()
        train(model.eval(), batches, step, CONFIG, state=tmp_path / "s.pt")
        assert model.training


@pytest.mark.parametrize("wrong", [{"model": None}, {"config": {"epochs": 1}}])
def test_what_cannot_be_trained_is_refused(wrong):
    given = dict(zip(("model", "batches", "step"), task(), strict=True)) | {"config": CONFIG} | wrong
    with pytest.raises(ParameterError, match="must be a"):
        train(**given)


def test_a_step_in_parts_resumes_and_must_have_one(tmp_path):
    def kill(done, total, note=""):
        if done == 3:
            raise Killed

    model, batches, _ = task()
    with pytest.raises(Killed):
        train(model, batches, parts(1.0, 2.0), CONFIG, state=tmp_path / "s.pt", progress=kill)
    resumed = train(*task()[:2], parts(1.0, 2.0), CONFIG, state=tmp_path / "s.pt")
    assert resumed.history == train(*task()[:2], parts(1.0, 2.0), CONFIG).history
    with pytest.raises(ParameterError, match="at least one"):
        train(*task()[:2], parts(), CONFIG)


def test_the_average_is_that_of_pytorchs_own_update():
    """Kept lists of tensors, instead of a walk through the models at every step, change no bit of it."""
    model, batches, step = task()
    taken = 0

    @torch.no_grad()
    def average(averaged, current, count):
        decay = CONFIG.ema_decay * (1 - math.exp(-(int(count) + 1) / CONFIG.ema_ramp))
        return torch.lerp(averaged, current, 1 - decay) if averaged.is_floating_point() else current

    own = AveragedModel(model, avg_fn=average, use_buffers=True)

    def watched(model, batch, generator):
        nonlocal taken
        if taken > 0:
            own.update_parameters(model)
        taken += 1
        return step(model, batch, generator)

    trained = train(model, batches, watched, replace(CONFIG, epochs=2))
    own.update_parameters(trained.model)
    assert int(own.n_averaged) == taken == 20 and trained.ema.state_dict().keys() == own.module.state_dict().keys()
    assert all(torch.equal(value, own.module.state_dict()[name]) for name, value in trained.ema.state_dict().items())


def accumulated(many: int, summed: bool, batches: int = 4, **changes):
    """The weights after one epoch of `batches` batches of 8, and how often the optimizer stepped."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    data = [torch.randn(8, 4, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    if batches == 1:
        data = [torch.cat(data)]

    def step(model, x, generator):
        loss = (model(x) - x.sum(1, keepdim=True)).square()
        return {"total": loss.sum() if summed else loss.mean()}

    plain = {"epochs": 1, "lr": 0.01, "warmup_steps": 0, "clip": math.inf, "ema_decay": 0.5, "ema_ramp": 1}
    config = TrainingConfig(**plain | {"accumulate": many, "summed": summed} | changes)
    trained = train(model, lambda epoch: data, step, config)
    return [p.detach() for p in trained.model.parameters()], trained


@pytest.mark.parametrize("summed", [False, True])
def test_accumulated_batches_make_the_step_of_the_large_one(summed):
    whole, _ = accumulated(1, summed, batches=1)
    parts, _ = accumulated(4, summed)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other)
    wrong, _ = accumulated(4, False) if summed else accumulated(1, False)
    assert not torch.allclose(wrong[0], whole[0], atol=1e-4), "neither the mean of sums nor four steps"


def test_an_epochs_left_batches_make_a_step():
    """4 batches by threes: a step of three, one of one. The averaged weights move once for each."""
    _, three = accumulated(3, False)
    _, alone = accumulated(1, False)
    assert len(three.history) == 1 and not torch.equal(three.model.weight, alone.model.weight)


def test_accumulation_starts_at_one_and_grows_with_the_warm_up():
    config = TrainingConfig(accumulate=4, warmup_steps=100)
    assert [together(config, step) for step in (0, 20, 50, 100, 5000)] == [1, 2, 2, 4, 4]
    assert together(TrainingConfig(accumulate=4, warmup_steps=0), 0) == 4
    with pytest.raises(ParameterError, match="accumulate"):
        TrainingConfig(accumulate=0)


@pytest.mark.parametrize("kill_after", [1, 2])
def test_a_killed_training_counts_its_batches_on(tmp_path, kill_after):
    """The warm-up is counted in batches, of which an accumulating training makes fewer steps."""

    def kill(done, total, note=""):
        if done == kill_after:
            raise Killed

    config = replace(CONFIG, accumulate=3, epochs=3, warmup_steps=25)
    whole = train(*task(), config)
    with pytest.raises(Killed):
        train(*task(), config, state=tmp_path / "state.pt", progress=kill)
    resumed = train(*task(), config, state=tmp_path / "state.pt")
    assert resumed.history == whole.history
