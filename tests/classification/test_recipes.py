"""The published recipe, its initial weights, and a kill in mid-training with all of its draws."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nasedu import blocks
from nasedu.classification import classifier_recipe, mixup, published_augment, published_recipe, zen_init
from nasedu.classification.initial import GAIN, INITIALS
from nasedu.classification.recipes import RECIPES, SHORT
from nasedu.data import classification
from nasedu.errors import NaseduError, ParameterError, UnknownName
from nasedu.task import Classification, fit
from nasedu.training import train
from nasedu.training.loop import make_optimizer
from nasedu.training.schedule import schedule


class Residual(nn.Module):
    """x + a branch that ends in a normalisation; the shortcut's own is registered last."""

    def __init__(self, channels: int, residual: bool = True):
        super().__init__()
        self.residual = residual
        self.branch = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels))

    def forward(self, x):
        return torch.relu(self.branch(x) + self.shortcut(x)) if self.residual else self.branch(x)


def net(residual: bool = True) -> nn.Sequential:
    stem = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()
    return nn.Sequential(*stem, Residual(8, residual), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))


def test_the_published_schedule():
    config = published_recipe(1440, 64, 50_000)
    steps = 5 * (50_000 // 64)
    assert schedule(config, 0, 0) == (0.0, 0.0, 0.9)
    assert schedule(config, steps // 2, 0) == pytest.approx((0.0125, 0.0125, 0.9), rel=1e-3)
    assert schedule(config, steps, 0) == pytest.approx((0.025, 0.025, 0.9))
    half, end = steps + (1440 - 5) * (50_000 // 64) // 2, 1440 * (50_000 // 64)
    assert schedule(config, half, 0)[0] == pytest.approx(0.0125, rel=1e-4) and schedule(config, end, 1440)[0] == 0.0
    optimizer = make_optimizer(net(), config)
    assert optimizer.defaults["nesterov"] and [g["weight_decay"] for g in optimizer.param_groups] == [5e-4, 0, 0]
    assert all(p.ndim > 1 for p in optimizer.param_groups[0]["params"])
    assert published_recipe(480, 256, 10_000, weight_decay=4e-5).weight_decay == 4e-5


def test_gradients_are_not_clipped():
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    config = published_recipe(1, 256, 256, warmup_epochs=0, weight_decay=0.0)
    train(model, lambda epoch: [0], lambda model, batch, generator: {"total": 1000 * model.weight.sum()}, config)
    assert float(model.weight.detach()) == pytest.approx(-0.1 * 1000 * 1.9)  # Nesterov: 1 + .9 gradients


def test_bad_recipes():
    with pytest.raises(UnknownName, match="did you mean 'clip'"):
        published_recipe(10, 64, 1000, clipp=1.0)
    with pytest.raises(ParameterError, match="below the 5 epochs"):
        published_recipe(5, 64, 1000)
    with pytest.raises(ParameterError, match="batch_size must be a whole number from 1, got 0"):
        published_recipe(10, 0, 1000)


def test_initial_weights():
    model = zen_init(net(), torch.Generator().manual_seed(0), bn_momentum=0.01)
    again = zen_init(net(), torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    wide = zen_init(nn.Sequential(nn.Conv2d(64, 128, 3)), torch.Generator().manual_seed(0))[0]
    assert float(wide.weight.detach().std()) == pytest.approx(3.26033 * math.sqrt(2 / (9 * 192)), rel=0.02)
    assert float(wide.bias.detach().abs().max()) == 0
    block = model[3]
    assert (block.branch[4].weight == 0).all() and (block.branch[1].weight == 1).all()
    assert (block.shortcut[1].weight == 1).all() and model[1].momentum == 0.01 and again[1].momentum == 0.1
    plain = zen_init(net(residual=False), torch.Generator().manual_seed(0))
    assert (plain[3].branch[4].weight == 1).all()  # without its shortcut a zero would silence the network


# the deviation of a 3x3 convolution of 64 to 128 channels, and of a linear layer of 200 to 100 units
DEVIATIONS = {
    "zen": (GAIN * math.sqrt(2 / (9 * 64 + 9 * 128)), GAIN * math.sqrt(2 / 300)),
    "xavier": (math.sqrt(2) * math.sqrt(2 / (9 * 64 + 9 * 128)), GAIN * math.sqrt(2 / 300)),
    "he": (math.sqrt(2 / (9 * 64)), math.sqrt(2 / 200)),
    "fan_in": (1 / math.sqrt(9 * 64), 1 / math.sqrt(200)),
    "small": (0.1 / math.sqrt(9 * 64), 0.1 / math.sqrt(200)),
    "tiny": (1e-4 / math.sqrt(9 * 64), 1e-4 / math.sqrt(200)),
}


@pytest.mark.parametrize("name", DEVIATIONS)
def test_every_initialisation_has_the_moments_of_its_formula(name):
    model = nn.Sequential(nn.Conv2d(64, 128, 3), nn.BatchNorm2d(128), nn.Linear(200, 100))
    model[1].weight.data.fill_(5.0)
    INITIALS[name](model, torch.Generator().manual_seed(0))
    for layer, deviation in zip((model[0], model[2]), DEVIATIONS[name], strict=True):
        weight, n = layer.weight.detach().double(), layer.weight.numel()
        assert abs(float(weight.mean())) < 4 * deviation / math.sqrt(n)
        assert float(weight.std()) == pytest.approx(deviation, rel=4 / math.sqrt(2 * n))
        kurtosis = float((weight**4).mean()) / float((weight**2).mean()) ** 2
        assert kurtosis == pytest.approx(3, abs=0.15), "normal, not uniform"
        assert not layer.bias.any()
    assert (model[1].weight == 1).all() and INITIALS.keys() == DEVIATIONS.keys() | {"built"}


def test_a_network_may_keep_the_weights_it_was_built_with():
    model, config = net(), classifier_recipe("short", bn_momentum=0.02)
    before = [p.clone() for p in model.parameters()]
    config.start(model, torch.Generator())
    assert all(map(torch.equal, before, model.parameters())) and model[1].momentum == 0.02


def test_the_published_recipes_are_those_of_the_scripts():
    """idstcv/ZenNAS, scripts/Zen_NAS_cifar_params1M.sh and Zen_NAS_ImageNet_flops400M.sh."""
    cifar, imagenet = classifier_recipe("zen_cifar"), classifier_recipe("zen_imagenet")
    for config, wd, epochs, n in ((cifar, 5e-4, 1440, 50_000), (imagenet, 4e-5, 480, 1_281_167)):
        settings, batches = config.training(n), n // 64
        assert (settings.optimizer, settings.momentum, settings.nesterov) == ("sgd", 0.9, True)
        assert (settings.lr, settings.weight_decay, settings.epochs) == (0.1 * 64 / 256, wd, epochs)
        assert (settings.warmup_steps, settings.decay_steps) == (5 * batches, epochs * batches)
        assert settings.clip == math.inf and settings.final_lr == 0 and not config.averaged
        assert (config.bn_momentum, config.init, config.label_smoothing) == (0.01, "zen", 0.1)
        assert (config.augment.policy, config.augment.erasing, config.augment.mixup) == ("set", 0.5, 0.2)
    assert (cifar.augment.crop, imagenet.augment.crop) == ("padded", "resized")
    assert (cifar.augment.lighting, imagenet.augment.lighting) == (0, 0.1)
    assert (imagenet.image_size, imagenet.teacher_size, imagenet.features) == (224, 320, 16)
    apex = classifier_recipe("zen_imagenet_apex").training(1_281_167)
    assert apex.lr == pytest.approx(0.8) and apex.precision == "bfloat16"
    truth = classifier_recipe("resnet48").training(34_745)
    assert (truth.lr, truth.epochs, truth.nesterov, truth.warmup_steps) == (0.4, 90, False, 2 * (34_745 // 1024))


def test_a_recipe_is_changed_by_name_wherever_the_field_stands():
    config = classifier_recipe("zen_cifar", epochs=20, mixup=0.0, batch_size=256, optimizer="rmsprop", decay="linear")
    assert config.augment.mixup == 0 and config.augment.erasing == 0.5
    settings = config.training(2560)
    assert (settings.epochs, settings.lr, settings.optimizer, settings.decay_steps) == (20, 0.1, "rmsprop", 200)
    assert RECIPES["zen_cifar"].settings.epochs == 1440, "the published one stays as it is"
    with pytest.raises(UnknownName, match="did you mean 'mixup'"):
        classifier_recipe("zen_cifar", mixupp=1.0)
    with pytest.raises(UnknownName, match="did you mean 'zen_cifar'"):
        classifier_recipe("zen_cifr")
    for wrong in ({"init": "xavierr"}, {"policy": "imagnet"}, {"crop": "padded "}):
        with pytest.raises(UnknownName, match="did you mean"):
            classifier_recipe("zen_cifar", **wrong)
    for wrong in (
        {"batch_size": 0},
        {"bn_momentum": 2},
        {"label_smoothing": -1},
        {"erasing": 2},
        {"teacher_size": 1.5},
        {"bn_momentum": 0},  # statistics that never move
        {"averaged": "yes"},
        {"per_256": 3},
        {"scaling": "x"},
        {"normalise": "x"},
        {"settings": 3},
        {"augment": None},
    ):
        with pytest.raises(NaseduError, match=WORDS.get(next(iter(wrong)), next(iter(wrong)))):
            classifier_recipe("zen_cifar", **wrong)


WORDS = {"scaling": "interpolation", "normalise": "normalisation"}


def test_momentum_that_is_not_warmed_up_stays_so_when_it_is_changed():
    config = classifier_recipe("zen_cifar", momentum=0.5).training(640)
    assert [schedule(config, step, 0)[2] for step in (0, 25, 49)] == [0.5] * 3
    assert classifier_recipe("short", momentum=0.5).settings.warmup_momentum == SHORT.warmup_momentum


def test_weights_that_are_brought_along_keep_their_values_and_get_the_momentum():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    before = network[0].weight.clone()
    classifier_recipe("zen_cifar").start(network, None)
    assert torch.equal(network[0].weight, before) and network[1].momentum == 0.01


def test_initial_weights_leave_the_global_state_alone():
    model = net()
    before = torch.get_rng_state()
    zen_init(model, torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)


class Killed(Exception):
    pass


def test_a_killed_training_with_every_draw_ends_where_it_would_have_ended(tmp_path):
    images = classification("digits", "train", size=96, image_size=16)
    how = {"augment": published_augment(images), "mix": mixup(10), "label_smoothing": 0.1}
    task = Classification(images, batch_size=32, seed=2, **how)
    config = published_recipe(4, 32, 96, warmup_epochs=1, save_seconds=0)

    def run(state=None, progress=lambda *_: None, seed=0):
        model = zen_init(net(), torch.Generator().manual_seed(seed))
        return fit(model, task, config, state=state, progress=progress)

    def kill(epoch, *_):
        if epoch == 2:
            raise Killed

    state = tmp_path / "state.pt"
    with pytest.raises(Killed):
        run(state, kill)
    torch.manual_seed(77)
    resumed, whole = run(state), run()
    assert resumed.history == whole.history
    for ours, theirs in ((resumed.model, whole.model), (resumed.ema, whole.ema)):
        assert all(
            torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
        )


def test_a_stack_of_plain_residuals_starts_as_its_stem():
    unit = blocks.Residual((blocks.Conv(64, 64, 3), blocks.Conv(64, 64, 3, act=None)))
    model = blocks.plain_modules([blocks.Conv(3, 64, 3), unit, unit])
    zen_init(model, torch.Generator().manual_seed(0))
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(model(x), model[0](x)), "the last BN of a residual body is at zero"
