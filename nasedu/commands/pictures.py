"""Commands that look at pictures: a folder's, and what a detector sees in them."""

from __future__ import annotations

import argparse
import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.colors import to_hex
from matplotlib.font_manager import findfont
from PIL import Image
from torchvision.transforms.v2 import functional as F
from torchvision.utils import draw_bounding_boxes

from nasedu import data, deploy, detection, plots, wzdnas
from nasedu.commands import fail
from nasedu.commands.training import evaluate_classifier, is_classifier
from nasedu.course.setup import pick_device
from nasedu.data.export import coco_results
from nasedu.data.images import UNREADABLE, opened, upright, why
from nasedu.data.notes import shown
from nasedu.errors import NaseduError, ParameterError, UnknownName, brief, check_name, sentence
from nasedu.files import write_atomically
from nasedu.modules import computing
from nasedu.plots.picture import COLOURS, ink
from nasedu.wzdnas.sighted import Seen, Sighted


def check_data(args: argparse.Namespace) -> int:
    """Read every split of a data folder and tell what was found, with a picture of each; the exit status."""
    name = args.dataset or data.guess(args.folder)
    status, told = 0, set()
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # all of it is reported
        for split in ("train", "val", "test"):
            try:
                found: Any = data.detection(name, split, root=args.folder, image_size=320)
            except NaseduError as error:
                reason = str(error).replace(f"{name} {split}: ", "")
                status = fail(sentence(f"{split}: {reason}"), 2) if reason not in told else 2
                told.add(reason)
                continue
            classes = found.classes[:20] + ["..."] * (len(found.classes) > 20)
            print(f"{found}\n  classes: {', '.join(shown(one, 40) for one in classes)}")
            for kind, count, first in found.report().itertuples(index=False):
                print(f"  {count:6} {kind}; first: {first}")
            picture = args.out / f"{split}.png"
            write_atomically(picture, plots.scenes(found).png())
            print(f"  {picture}: some of its images with their boxes")
    return status


def detect(args: argparse.Namespace) -> int:
    """Tell, and draw, what a trained detector sees in pictures; the exit status."""
    files = _files(args.pictures, args.out)
    detector, told, status = _detector(args), {}, 0
    for path, file in zip(args.pictures, files, strict=True):
        try:
            with opened(path) as image:
                picture = upright(image)
        except UNREADABLE as reason:
            status = fail(sentence(f"{shown(path)}: {why(reason, 'picture', 'cannot be read')}"), 2)
            continue
        seen = detector.detect(path, confidence=args.confidence, iou=args.iou)
        told[str(path)] = [one._asdict() for one in seen]
        lines = [f"{path}: {len(seen)} objects"]
        lines += [f"  {shown(name, 40):20} {s:.2f}  {', '.join(f'{v:.0f}' for v in box)}" for name, s, box in seen]
        if file:
            write_atomically(file, _drawn(picture, seen, detector.classes, file.suffix))
            lines.append(f"  {file}: the picture with its boxes")
        if not args.json:
            print("\n".join(lines))
    if args.json:
        print(json.dumps(told, indent=1))
    return status


def _detector(args: argparse.Namespace) -> Sighted:
    """The detector of a run, or of an exported file. Raises `ParameterError` for options of the other."""
    exported = args.run.suffix.lower() == ".onnx"
    if (args.network if exported else args.runtime) is not None:
        told = ("--network", "a run of several networks") if exported else ("--runtime", "an exported FILE.onnx")
        raise ParameterError(f"{told[0]} is for {told[1]}, and {brief(str(args.run))} is none")
    if exported:
        return deploy.load_onnx(args.run, args.runtime or "onnxruntime")
    return wzdnas.load(args.run, args.network)


KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def _files(pictures: Sequence[Path], out: Path | None) -> list[Path | None]:
    """Where each picture is drawn. Raises `ParameterError` where that is one of the pictures, or of an unknown kind."""
    if out is None:
        return [None] * len(pictures)
    if len(pictures) == 1 and out.suffix and not out.is_dir():
        check_name("kind of picture", out.suffix.lower(), KINDS)
        found = [out]
    else:
        stems = [path.stem for path in pictures]
        again = [stems[:i].count(stem) for i, stem in enumerate(stems)]
        found = [out / f"{stem}_seen{n + 1 if n else ''}.png" for stem, n in zip(stems, again, strict=True)]
    if own := {path.resolve() for path in pictures} & {path.resolve() for path in found}:
        raise ParameterError(f"{brief(str(min(own)))} is one of the pictures, and would be written over: name another")
    return found


def _drawn(picture: Image.Image, seen: Sequence[Seen], classes: Sequence[str], suffix: str) -> bytes:
    """A picture with boxes and names, in its own resolution, as a file's content."""
    pixels = F.pil_to_tensor(picture)
    if seen:
        colours = [to_hex(COLOURS[list(classes).index(one.name) % len(COLOURS)]) for one in seen]
        size = max(picture.size)
        look = {"colors": colours, "label_background_colors": colours, "fill_labels": True}
        look["label_colors"] = [ink(colour) for colour in colours]
        look |= {"width": max(1, size // 300), "font": findfont("DejaVu Sans"), "font_size": max(10, size // 50)}
        names = [f"{shown(one.name, 40)} {one.score:.2f}" for one in seen]
        pixels = draw_bounding_boxes(pixels, torch.tensor([one.box for one in seen]), names, **look)
    held = io.BytesIO()
    F.to_pil_image(pixels).save(held, KINDS[suffix.lower()], quality=95)
    return held.getvalue()


def evaluate(args: argparse.Namespace) -> int:
    """Test a trained detector or classifier on labelled images; the exit status."""
    if is_classifier(args):
        return evaluate_classifier(args)
    detector = _detector(args)
    if args.data is None and args.dataset != "digits":
        raise ParameterError("--data names the folder of labelled images; the built-in scenes are --dataset digits")
    name = args.dataset or data.guess(args.data)
    options = {"root": args.data, "image_size": detector.side}
    options |= {} if name == "digits" else {"classes": detector.classes}
    try:
        images = data.detection(name, args.split, **options)
    except UnknownName as error:
        raise ParameterError(sentence(f"the data has a class that the detector does not know: {error}")) from None
    views = detection.THREE_VIEWS if args.views else (detection.View(),)
    detector.network.to(pick_device(args.device))
    with computing(detector.network, args.precision):
        found = detector.find(images, views)
    metrics = detection.evaluate(images, found)
    print(images)
    names = {"ap": "AP", "ap50": "AP50", "ap75": "AP75", "voc11_50": "VOC 11-point", "voc_all_50": "VOC every-point"}
    names |= {"precision": "precision", "recall": "recall", "confidence": "  at the score"}
    for key, label in names.items():
        print(f"  {label:16} {getattr(metrics, key):.4f}")
    for label, scores in metrics.per_class.items():
        print(f"  {shown(label, 40):16} AP {scores['ap']:.4f}  AP50 {scores['ap50']:.4f}")
    if args.coco:
        write_atomically(args.coco, json.dumps(coco_results(images, found)))
        print(f"{args.coco}: {sum(len(one['scores']) for one in found)} detections, as COCO's tools read them")
    return 0
