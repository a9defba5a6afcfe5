"""Training by a teacher: its answers and its feature maps beside the labels (Zen-NAS's ImageNet training)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasedu.classification.scoring import error, label_loss
from nasedu.errors import ParameterError, check_name, check_number
from nasedu.modules import copy_of, evaluation_mode, placed
from nasedu.training import Step

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
Pairs = Sequence[str | tuple[str, str]]


class Distilled(nn.Module):
    """A student with the 1x1 convolutions that compare its feature maps with a teacher's; give it to `train`.

    The convolutions are trained along; the network is `trained.model.student`, its average `trained.ema.student`.

    Neither network is changed. Raises `ParameterError`, `UnknownName`.

    student: the network to train.
    teacher: the one to learn from.
    x: an example (B, C, H, W) to find out shapes.
    features: a stride: of each stride from there on, the last map of both networks is compared, among those of their
        top-level parts (and of the parts inside a `Sequential`, `ModuleList` or `ModuleDict`) that have more than one
        pixel. Or a list of layers, one name for both or a pair (student's, teacher's); an empty list compares answers
        alone. The published training begins at 16, too, but takes of the student the first superblock of each stride,
        of its teacher (tf_efficientnet_b3_ns) the first stage of stride 16, and at 32 its last convolution, normalised
        and before the activation: pairs have to name those.
    generator: draws the convolutions, which start near zero (N(0, 1) / sqrt(C) * 1e-4).
    size: pixels of the images that the student is shown; None: as they come. Others are resized (bilinear): the
        published training reads images at the teacher's size, 320, and shows them to the student at 224.
    teacher_size: likewise of the teacher.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        x: Tensor,
        *,
        features: int | str | Pairs = 16,
        generator: torch.Generator,
        size: int | None = None,
        teacher_size: int | None = None,
    ):
        super().__init__()
        features = [features] if isinstance(features, str) else features
        self.size, self.teacher_size = size, teacher_size
        seen, shown = resized(x, size), resized(x, teacher_size)
        maps, logits = _probe(student, seen, "student", features, 0)
        teacher_maps, teacher_logits = _probe(teacher, shown, "teacher", features, 1)
        _check_answers(logits, teacher_logits)
        if isinstance(features, int):
            self.pairs = _by_stride((maps, teacher_maps), (seen.shape[-1], shown.shape[-1]), features)
        else:
            self.pairs = tuple((_side(pair, 0), _side(pair, 1)) for pair in features)
        self.student = student
        convolutions = [_projection(maps[s], teacher_maps[t], generator) for s, t in self.pairs]
        self.projections = nn.ModuleList(convolutions).to(logits.device)

    def forward(self, x: Tensor) -> Tensor:
        """The student's logits (B, classes)."""
        return self.student(resized(x, self.size))


def resized(x: Tensor, side: int | None) -> Tensor:
    """Images (B, C, H, W) as (B, C, side, side), bilinear as in the published training; None leaves them."""
    if side is None or x.shape[-2:] == (side, side):
        return x
    return F.interpolate(x, (side, side), mode="bilinear", align_corners=False)


def distilled_step(
    teacher: nn.Module,
    *,
    feature_weight: float = 1.0,
    logit_weight: float = 1.0,
    temperature: float = 1.0,
    label_smoothing: float = 0.0,
) -> Step:
    """A step for `train` of a `Distilled` student: labels, the teacher's answers and its feature maps.

    total = CE(y, s) + logit_weight T^2 CE(softmax(t/T), softmax(s/T)) + feature_weight sum smoothL1(conv(f_s), f_t),
    with T = 1 and both weights 1 in the published training; its parts are "label", "logit" and "feature". A teacher's
    map of another size is resized to the student's (bilinear). Raises `ParameterError`.

    teacher: sees the student's images, mixed ones too, in the size that `Distilled` was told; a copy taken now works,
        in eval mode and without gradients.
    feature_weight: as in the equation.
    logit_weight: likewise.
    temperature: T.
    label_smoothing: as in `label_loss`.
    """
    check_number("feature_weight", feature_weight)
    check_number("logit_weight", logit_weight)
    check_number("temperature", temperature, above=True)
    frozen = copy_of(teacher).eval().requires_grad_(False)

    def step(model: nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """One batch's losses."""
        if not isinstance(model, Distilled):
            raise ParameterError(f"distillation trains a Distilled(student, teacher, x), not a {type(model).__name__}")
        x, y = placed(model, *batch)
        frozen.to(x.device, memory_format=torch.channels_last)
        with torch.no_grad(), _captured(frozen, [t for _, t in model.pairs]) as targets:
            answers = frozen(resized(x, model.teacher_size))
        with _captured(model.student, [s for s, _ in model.pairs]) as maps:
            logits = model(x)
        _check_answers(logits, answers)
        losses = {"label": label_loss(logits, y, label_smoothing), "logit": _logit_loss(logits, answers, temperature)}
        total = losses["label"] + logit_weight * losses["logit"]
        if model.pairs:
            losses["feature"] = _feature_loss(model, maps, targets)
            total = total + feature_weight * losses["feature"]
        return losses | {"total": total, "error": error(logits, y)}

    return step


def _logit_loss(logits: Tensor, answers: Tensor, temperature: float) -> Tensor:
    """Cross-entropy with the softened answers; T^2 keeps its gradient's size (Hinton et al. 2015, section 2)."""
    return temperature**2 * F.cross_entropy(logits / temperature, (answers / temperature).softmax(1))


def _feature_loss(model: Distilled, maps: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
    terms = []
    for (ours, theirs), project in zip(model.pairs, model.projections, strict=True):
        target = targets[theirs]
        if target.shape[-2:] != maps[ours].shape[-2:]:
            target = F.interpolate(target, maps[ours].shape[-2:], mode="bilinear", align_corners=False)
        terms.append(F.smooth_l1_loss(project(maps[ours]), target))
    return torch.stack(terms).sum()


def _projection(student_map: Tensor, teacher_map: Tensor, generator: torch.Generator) -> nn.Conv2d:
    c_in, c_out = student_map.shape[1], teacher_map.shape[1]
    drawn = torch.randn(c_out, c_in, 1, 1, generator=generator, device=generator.device)
    convolution = nn.utils.skip_init(nn.Conv2d, c_in, c_out, 1)  # the usual start would draw from the global state
    convolution.weight.data.copy_(drawn / c_in**0.5 * 1e-4)
    convolution.bias.data.zero_()
    return convolution


def _side(pair: str | tuple[str, str], side: int) -> str:
    """A pair's layer on the student's (0) or the teacher's (1) side."""
    if isinstance(pair, str):
        return pair
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ParameterError(f"features: {pair!r} must be a layer's name or a pair (student's, teacher's)")
    return pair[side]


def _probe(model: nn.Module, x: Tensor, who: str, features: int | Pairs, side: int) -> tuple[dict[str, Tensor], Tensor]:
    """The maps of the layers in question, in the order in which they are finished, and the logits; in eval mode."""
    names = list(_stages(model)) if isinstance(features, int) else [_side(pair, side) for pair in features]
    modules = dict(model.named_modules())
    for name in names:
        if name not in modules or not name:
            check_name(f"layer of the {who}", name, _stages(model))
    device = next((p.device for p in model.parameters()), x.device)
    with torch.no_grad(), evaluation_mode(model), _captured(model, names) as maps:
        logits = model(x.to(device))
    found = {name: value for name, value in maps.items() if isinstance(value, Tensor) and value.ndim == 4}
    for name in [] if isinstance(features, int) else names:
        if name not in found:
            raise ParameterError(f"layer {name!r} of the {who} gives no feature map (B, C, H, W)")
    return found, logits


def _by_stride(maps: tuple[dict[str, Tensor], ...], sides: tuple[int, int], least: int) -> tuple:
    """Pairs of the last layers of each stride of `least` or more that both networks have.

    A network's strides count from the pixels of the images that it is shown.
    """
    ours, theirs = (
        {round(side / m.shape[-1]): name for name, m in found.items() if min(m.shape[-2:]) > 1}
        for found, side in zip(maps, sides, strict=True)
    )
    common = [stride for stride in sorted(ours) if stride >= least and stride in theirs]
    if not common:
        shared = [stride for stride in sorted(ours) if stride in theirs]
        hint = f"take features={shared[-1]}" if shared else "in Python, pairs of layers can be named"
        raise ParameterError(
            f"student and teacher share no feature map of stride {least} or more at {sides[0]} pixels (the "
            f"student's strides: {sorted(ours)}, the teacher's: {sorted(theirs)}): {hint}"
        )
    return tuple((ours[stride], theirs[stride]) for stride in common)


def _stages(model: nn.Module, prefix: str = "") -> Iterator[str]:
    """Names of the top-level parts, and of the parts inside containers."""
    for name, part in model.named_children():
        if not isinstance(part, nn.ModuleList | nn.ModuleDict):  # these are never called themselves
            yield prefix + name
        if isinstance(part, CONTAINERS):
            yield from _stages(part, f"{prefix}{name}.")


@contextmanager
def _captured(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """{layer: its last output} of what runs while open; no hook is left behind."""
    maps: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module, inputs: tuple, output: Tensor) -> None:
        maps.pop(name, None)  # a part that runs twice goes to the end
        maps[name] = output

    with ExitStack() as hooks:
        for name in dict.fromkeys(names):
            hooks.enter_context(model.get_submodule(name).register_forward_hook(partial(keep, name)))
        yield maps


def _check_answers(logits: Tensor, answers: Tensor) -> None:
    for who, value in (("student", logits), ("teacher", answers)):
        if not isinstance(value, Tensor) or value.ndim != 2:
            raise ParameterError(f"the {who} must return logits (B, classes)")
    if logits.shape != answers.shape:
        raise ParameterError(
            f"the teacher answers with {answers.shape[1]} classes and the student with {logits.shape[1]}: "
            f"both must know the same classes"
        )
