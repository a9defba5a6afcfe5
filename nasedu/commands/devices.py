"""Commands that take blocks and detectors to another device, and its measurements back."""

from __future__ import annotations

import argparse
import os
from dataclasses import fields
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from nasedu import data, deploy, detection, wzdnas
from nasedu.commands.named import MOST_WORKERS, named_space
from nasedu.deploy import kit as kits
from nasedu.errors import ParameterError, check_whole
from nasedu.files import write_atomically
from nasedu.tables.additivity import FEWEST

CALIBRATION = 64  # images that the scales of an int8 network are fitted to


def kit(args: argparse.Namespace) -> int:
    """Export a space's blocks for another device; the exit status."""
    space = named_space(args.space, args.settings)
    config = kits.KitConfig(**{field.name: getattr(args, field.name) for field in fields(kits.KitConfig)})
    workers = check_whole("workers", os.cpu_count() or 1 if args.workers is None else args.workers, 1, MOST_WORKERS)
    with tqdm(desc=f"exporting {space.name}", unit=" files", delay=0.1) as bar:  # not beside a mistake

        def show(done: int, total: int, note: str = "") -> None:
            bar.total = total
            bar.update(done - bar.n)

        made = kits.write_kit(space, args.out, config, workers=workers, progress=show)
    files = [held["file"] for entry in made["entries"] for held in kits.files_of(entry)]
    size = sum((args.out / file).stat().st_size for file in files) / 1e6
    print(f"{args.out}: {len(files)} files, {size:.1f} MB. Copy the folder to the device and run there:")
    print("  python3 -m venv env && env/bin/pip install numpy onnxruntime    (1.18 or newer)")
    print("  env/bin/python run_kit.py" + "    (then again with --precision int8)" * args.int8)
    if args.networks < FEWEST:
        print(f"With {args.networks} whole networks there will be no corrected table: that takes {FEWEST} or more.")
    return 0


def import_kit(args: argparse.Namespace) -> int:
    """Make a lookup table of what was measured with a kit; the exit status."""
    if args.idle and not args.energy:
        raise ParameterError("--idle is taken off what a meter read: give its log with --energy")
    if args.estimate:
        estimated = kits.estimate_kit(args.folder, args.results)
        out = args.out or args.folder / "latency_ms_estimated.json"
        estimated.table.save(out)
        print(f"{estimated}\n{out}: the estimated table")
        return 0
    if args.energy:
        energy = kits.energy_kit(args.folder, args.energy, args.results, args.idle)
        out, (low, high) = args.out or args.folder / "energy_mj.json", energy.bounds()
        energy.save(out)
        print(f"{out}: {low:.4g} to {high:.4g} mJ a batch of {energy.provenance['batch']}")
        return 0
    found = kits.import_kit(args.folder, args.results)
    out = args.out or args.folder / "latency_ms.json"
    found.table.save(out)
    print(found)
    print(f"{out}: the table as measured")
    if found.corrected:
        corrected = out.with_name(f"{out.stem}_corrected{out.suffix}")
        found.corrected.save(corrected)
        print(f"{corrected}: the table with the correction")
    return 0


def export(args: argparse.Namespace) -> int:
    """Write a trained detector as ONNX; the exit status."""
    detector = wzdnas.load(args.run, args.network)
    given = {name: getattr(args, name) for name in ("confidence", "iou") if getattr(args, name) is not None}
    if given and not args.suppress:
        raise ParameterError(f"--{min(given)} is for a suppression inside the file: add --suppress")
    suppression = given if args.suppress else None
    calibration = _calibration(args.int8, detector.side) if args.int8 else None
    options = {"opset": args.opset, "suppression": suppression, "calibration": calibration}
    made = deploy.export_detector(detector, args.out, **options)
    script = made.file.with_name("use_it.py")
    if not script.exists():  # somebody may have changed theirs
        write_atomically(script, Path(deploy.__file__).with_name("use_it.py").read_text())
    print(f"{made.file}: {made.file.stat().st_size / 1e6:.2f} MB, {made.latency} in ONNX Runtime")
    print(f"  largest difference from PyTorch: {made.difference:.1e}")
    print(f"{script}: sees what it sees, without PyTorch: python {script.name} {made.file.name} photo.jpg")
    return 0


def _calibration(source: str, side: int) -> Tensor:
    """Images (n, 3, side, side) from 0 to 1, of a folder or of the built-in scenes. Raises `DataError`."""
    if source == "digits":
        scenes = data.detection("digits", "train", size=CALIBRATION, image_size=side)
        return next(iter(detection.Batches(scenes, CALIBRATION, shuffle=False)))[0]
    return data.read_squares(source, side, CALIBRATION) / 255
