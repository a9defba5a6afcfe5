"""Commands that train a network by a recipe, and test a classifier."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from nasedu import data, processes, reading, spaces, storage, wzdnas
from nasedu.classification import classifier_recipe
from nasedu.classification.distill import Distilled, distilled_step
from nasedu.classification.recipes import ClassifierConfig
from nasedu.commands.named import CLASSIFIED, DETECTED, Named, drawn, named
from nasedu.course.bar import Bar
from nasedu.course.folder import claim
from nasedu.course.parameters import pairs, parse
from nasedu.course.setup import pick_device
from nasedu.data import ImageSet
from nasedu.data.classification import READERS
from nasedu.deploy.classifier import SETTINGS, Classifier, load_classifier
from nasedu.errors import ParameterError, brief, check_whole
from nasedu.files import write_atomically
from nasedu.randomness import initialised, stream
from nasedu.registry import options_of
from nasedu.spaces.yolo import YoloSpace
from nasedu.task import Classification, fit
from nasedu.training import Log, Step, Trained

SIDES = {"digits": 32, "cifar10": 32, "cifar100": 32}  # pixels that suit a set where nobody says; others 224


def train(args: argparse.Namespace) -> int:
    """Train a network by a recipe; the exit status. Of several processes the first one alone writes and tells."""
    check_whole("--seed", args.seed, 0)
    changes = {name: parse(name, text, "") for name, text in pairs(args.changes, "--set")}
    if args.epochs is not None:
        changes["epochs"] = check_whole("--epochs", args.epochs)
    device = pick_device(args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    lock = nullcontext() if processes.together(device).rank else claim(args.out, "run")
    with lock:
        kind = train_detector if args.network.partition(":")[0] == "yolo" else train_classifier
        kind(args, changes, device)
    return 0


def train_classifier(args: argparse.Namespace, changes: dict[str, Any], device: torch.device) -> None:
    """Train a classifier, and tell and keep what came of it.

    args: of the command line.
    changes: of the recipe, by name.
    device: where it is trained.
    """
    config = classifier_recipe(args.recipe or "short", **changes)
    name = args.dataset or ("folder" if args.data else "digits")
    side = args.image_size or config.image_size or SIDES.get(name, 224)
    teaching = config.teacher_size if args.teacher else None
    read = {"image_size": max(side, teaching or 0), **config.reading(name), **drawn(args.images, CLASSIFIED)}
    most = {"train": read.pop("size", None), "test": None}  # all are tested on
    sets = {split: data.classification(name, split, root=args.data, size=n, **read) for split, n in most.items()}
    with initialised(args.seed):
        found = _made(args.network, args.weights, sets["train"], args.arch, args.settings, side)
        teacher = _made(args.teacher, args.teacher_weights, sets["train"], size=teaching) if args.teacher else None
    if args.weights and "init" in changes:
        raise ParameterError("init draws first weights, and --weights brings some: take one of them")
    config.start(found.network, None if args.weights else stream(args.seed, "initial weights"))
    model, step = found.network, None
    size = side if read["image_size"] != side else None
    if teacher:
        model, step = _taught(found, teacher, config, sets["train"], (size, teaching), args.seed)
    placed = {split: images.to(device) for split, images in sets.items()}
    task = Classification(**placed, seed=args.seed, **config.task(placed["train"]))
    settings = config.training(len(sets["train"]))
    trained = _fitted(args, lambda **how: fit(model, task, settings, step, **how), device)
    if processes.together(device).rank:
        return
    network = trained.ema if config.averaged else trained.model
    network = network.student if teacher else network
    classifier = Classifier(network.eval(), found.made, sets["train"].classes, read, size)
    result = classifier.evaluate(task.data("test"))
    classifier.save(args.out)
    _keep(args, trained, {"recipe": args.recipe or "short", "dataset": name} | vars(result))
    print(told(result))


def _made(name: str, weights: Path | None, images: ImageSet, arch=None, settings=None, size=None) -> Named:
    """A classifier by its name, for the classes of the images, with the weights of a file."""
    found = named(name, arch, settings, size, len(images.classes))
    if weights and isinstance(found.space, spaces.PlainNetSpace):
        spaces.plainnet.load_weights(found.network, weights)
    elif weights:
        storage.load_weights(found.network, weights)
    return found


def _taught(
    found: Named,
    teacher: Named,
    config: ClassifierConfig,
    images: ImageSet,
    sizes: tuple[int | None, int | None],
    seed: int,
) -> tuple[Distilled, Step]:
    """The student beside its teacher, and the step of their training."""
    example = torch.zeros(1, *images.images.shape[1:])
    drawn = stream(seed, "projections")
    options = {"features": config.features, "generator": drawn, "size": sizes[0], "teacher_size": sizes[1]}
    model = Distilled(found.network, teacher.network, example, **options)
    weights = {name: getattr(config, name) for name in ("feature_weight", "logit_weight", "label_smoothing")}
    return model, distilled_step(teacher.network, **weights)


def train_detector(args: argparse.Namespace, changes: dict[str, Any], device: torch.device) -> None:
    """Train a detector, and tell and keep what came of it.

    args: of the command line.
    changes: of the recipe, by name.
    device: where it is trained.
    """
    if args.teacher or args.weights:
        raise ParameterError("--teacher and --weights are for classifiers: a detector is trained from scratch")
    name = args.dataset or (data.guess(args.data) if args.data else "digits")
    with initialised(args.seed):
        space: YoloSpace = named(args.network, args.arch, args.settings, args.image_size).space
    read = {"root": args.data, "image_size": space.image_size, **drawn(args.images, DETECTED)}
    most = {"train": read.pop("size", None), "test": None}  # all are tested on
    train_set, test_set = (data.detection(name, split, size=n, **read) for split, n in most.items())
    config = wzdnas.recipe(args.recipe or "short", images=len(train_set), flip=name != "digits", **changes)
    found = named(args.network, args.arch, args.settings, args.image_size, len(train_set.classes))
    anchors = found.space.anchors
    if config.autoanchor:
        anchors = wzdnas.anchors_for(train_set, found.space, config.ratio, generations=config.generations)
    make, _ = found.space.made
    space = spaces.create(*make.args, **make.keywords | {"anchors": anchors.tolist()})
    network = space.build(found.arch, seed=args.seed)
    task = wzdnas.detection_task(space, config, train_set, test=test_set, seed=args.seed)
    trained = _fitted(args, lambda **how: fit(network, task, config.training, **how), device)
    if processes.together(device).rank:
        return
    detector = wzdnas.Detector(space, found.arch, train_set.classes, trained.ema)
    metrics = detector.evaluate(test_set)
    detector.save(args.out)
    kept = {"recipe": args.recipe or "short", "dataset": name, "ap": metrics.ap, "ap50": metrics.ap50}
    _keep(args, trained, kept)
    print(f"AP {metrics.ap:.4f}, AP50 {metrics.ap50:.4f} on {len(test_set):,} images")


def _fitted(args: argparse.Namespace, train: Callable[..., Trained], device: torch.device) -> Trained:
    with Bar(desc="training", unit=" epochs", delay=0.1) as bar, Log(args.out, bar.show, args.tensorboard) as log:
        return train(seed=args.seed, device=device, state=args.out / "state.pt", progress=log)


def _keep(args: argparse.Namespace, trained: Trained, result: dict[str, Any]) -> None:
    """What came of a training, as `result.json`."""
    asked = {"network": args.network, "seed": args.seed, "epochs": len(trained.history), "changes": args.changes}
    write_atomically(args.out / "result.json", json.dumps(asked | result, indent=1) + "\n")
    print(f"{args.out}: the trained network; nasedu evaluate {args.out} tests it")


def told(result) -> str:
    """An `Accuracy` in a line, in %."""
    top1, top5, error = (100 * value for value in (result.top1, result.top5, result.error))
    return f"top-1 {top1:.2f} % (standard error {error:.2f}), top-5 {top5:.2f} % of {result.images:,} images"


def is_classifier(args: argparse.Namespace) -> bool:
    """Whether what is to be tested is a classifier: a folder that holds one, or a name with weights."""
    return args.weights is not None or (args.run / SETTINGS).is_file()


def evaluate_classifier(args: argparse.Namespace) -> int:
    """Test a trained classifier on labelled images; the exit status.

    args: of the command line.
    """
    for flag in ("views", "coco"):
        if getattr(args, flag):
            raise ParameterError(f"--{flag} is for detectors, and {brief(str(args.run))} is a classifier")
    name = args.dataset or ("folder" if args.data else _trained_on(args.run))
    asked = drawn(args.images, (*CLASSIFIED, "image_size"))
    if args.weights:
        side = args.image_size or SIDES.get(name, 224)
        read = {"image_size": side, **asked}
        images = data.classification(name, args.split, root=args.data, **read)
        found = _made(str(args.run), args.weights, images, args.arch, args.settings, side)
        classifier = Classifier(found.network.eval(), found.made, images.classes, read, side)
    else:
        fixed = {"--image-size": args.image_size, "--arch": args.arch, "-p": args.settings}
        if given := [flag for flag, value in fixed.items() if value]:
            raise ParameterError(f"{' and '.join(given)}: the classifier of {brief(str(args.run))} says that itself")
        classifier = load_classifier(args.run, named(args.network).network if args.network else None)
        read = _fitting(name, classifier.read) | asked
        images = data.classification(name, args.split, root=args.data, **read)
    device = pick_device(args.device)
    classifier.network.to(device)
    print(f"{name} {args.split}, {args.precision}: {told(classifier.evaluate(images.to(device), args.precision))}")
    return 0


def _trained_on(run: Path) -> str:
    """The image set of a run, where its folder tells."""
    try:
        return str(reading.load(run / "result.json")["dataset"])
    except (OSError, ValueError, KeyError, TypeError):
        return "digits"


def _fitting(name: str, read: Mapping[str, Any]) -> dict[str, Any]:
    """Of the options with which a classifier's images were read, those that this set has, too."""
    known = {"image_size", "distortion", "noise", "seed", *options_of(READERS[name])}
    return {option: value for option, value in read.items() if option in known}
