"""Commands that look at pictures: a folder's, and what a detector sees in them."""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from nasedu import data, deploy, detection, plots, wzdnas
from nasedu.commands import fail
from nasedu.data.export import coco_results
from nasedu.data.images import UNREADABLE, opened, upright, why
from nasedu.data.notes import shown
from nasedu.errors import DataError, NaseduError, ParameterError, sentence
from nasedu.files import write_atomically


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
    detector, told = wzdnas.load(args.run, args.network), {}
    for path in args.pictures:
        try:
            with opened(path) as image:
                pixels = np.array(upright(image))
        except UNREADABLE as reason:
            raise DataError(f"{shown(path)}: {why(reason, 'picture', 'cannot be read')}") from None
        seen = detector.detect(path, confidence=args.confidence, iou=args.iou)
        told[str(path)] = [one._asdict() for one in seen]
        if not args.json:
            print(f"{path}: {len(seen)} objects")
            for name, score, box in seen:
                print(f"  {shown(name, 40):20} {score:.2f}  {', '.join(f'{v:.0f}' for v in box)}")
        if args.out:
            several = len(args.pictures) > 1
            drawn = [(f"{name} {score:.2f}", box) for name, score, box in seen]
            file = args.out / f"{path.stem}.png" if several or args.out.is_dir() else args.out
            write_atomically(file, plots.boxes({"": (pixels, drawn)}).png())
            if not args.json:
                print(f"  {file}: the picture with its boxes")
    if args.json:
        print(json.dumps(told, indent=1, ensure_ascii=False))
    return 0


def evaluate(args: argparse.Namespace) -> int:
    """Test a trained detector on labelled images; the exit status."""
    detector = wzdnas.load(args.run, args.network)
    if args.data is None and args.dataset != "digits":
        raise ParameterError("--data names the folder of labelled images; the built-in scenes are --dataset digits")
    name = args.dataset or data.guess(args.data)
    options = {"root": args.data, "image_size": detector.space.image_size}
    options |= {} if name == "digits" else {"classes": detector.classes}
    images = data.detection(name, args.split, **options)
    views = detection.THREE_VIEWS if args.views else (detection.View(),)
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


def export(args: argparse.Namespace) -> int:
    """Write a trained detector as ONNX; the exit status."""
    detector = wzdnas.load(args.run, args.network)
    suppression = {"confidence": args.confidence, "iou": args.iou} if args.suppress else None
    made = deploy.export_detector(detector, args.out, opset=args.opset, suppression=suppression)
    script = made.file.with_name("use_it.py")
    if not script.exists():  # somebody may have changed theirs
        write_atomically(script, Path(deploy.__file__).with_name("use_it.py").read_text())
    print(f"{made.file}: {made.file.stat().st_size / 1e6:.2f} MB, {made.latency} in ONNX Runtime")
    print(f"  largest difference from PyTorch: {made.difference:.1e}")
    print(f"{script}: sees what it sees, without PyTorch: python {script.name} {made.file.name} photo.jpg")
    return 0
