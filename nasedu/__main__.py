"""The command line: `nasedu run`, `lab`, `search`, `detect`, `count` and more; `nasedu --help` lists them.

Exit status: 0 done, 1 something failed, 2 a mistake in what was asked for, 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from nasedu.commands import fail
from nasedu.errors import NaseduError, sentence

SETTING: dict[str, Any] = {"dest": "settings", "action": "append", "default": [], "metavar": "NAME=VALUE"}


def parser() -> argparse.ArgumentParser:
    """What may stand on the command line."""
    about = "Run, build and grade the course's notebooks; use trained detectors; count and time networks."
    top = argparse.ArgumentParser("nasedu", description=about)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    add_running(commands)
    add_teaching(commands)
    add_deploying(commands)
    add_ranking(commands)
    add_training(commands)
    add_searching(commands)
    add_detecting(commands)
    add_counting(commands)
    return top


def add_running(commands) -> None:
    """The commands that run or write notebooks."""
    command = commands.add_parser("run", help="run notebooks and keep their results in runs/NAME-TIME/")
    command.set_defaults(command="course.run")
    command.add_argument("notebooks", nargs="+", metavar="NOTEBOOK", help="such as 14_wzdnas or 14, or all")
    command.add_argument("--preset", help="smoke, quick, full or gpu (default: $NASEDU_PRESET, else quick)")
    command.add_argument("-p", **SETTING, help="a parameter of the notebook; may be repeated")
    command.add_argument("--out", type=Path, metavar="DIR", help="keep the runs here instead of in runs/")

    command = commands.add_parser("build", help="build the notebooks from notebooks/source/, with outputs")
    command.set_defaults(command="course.build")
    command.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="such as 14_wzdnas (default: all)")
    command.add_argument("--preset", default="quick", help="smoke, quick, full or gpu (default: quick)")
    command.add_argument("--check", action="store_true", help="only say which are not what their source says")
    command.add_argument("--no-execute", action="store_true", help="write them without outputs")


def add_teaching(commands) -> None:
    """The commands for those who learn and teach with the course, and bring their own data."""
    command = commands.add_parser("lab", help="open JupyterLab on a copy of the notebooks, which is yours to change")
    command.set_defaults(command="course.lab")
    command.add_argument("--desk", type=Path, metavar="DIR", help="where the copy lies (default: work/)")
    command.add_argument("rest", nargs="*", metavar="ARGUMENT", help="JupyterLab's own, behind --")

    command = commands.add_parser("grade", help="run the checkers on handed-in notebooks; write grades.csv and a page")
    command.set_defaults(command="course.grade")
    command.add_argument("folder", type=Path, metavar="DIR", help="the hand-ins, also in folders below; they stay")
    command.add_argument(
        "--out", type=Path, default=Path("marks"), metavar="DIR", help="where the marks go (default: marks)"
    )
    command.add_argument("--limit", type=float, default=30, help="seconds an answer may take (default: 30)")
    command.add_argument("--jobs", type=int, help="hand-ins at a time (default: one per core)")

    command = commands.add_parser(
        "check-data", help="read a folder of images with boxes, and tell what is wrong with it"
    )
    command.set_defaults(command="pictures.check_data")
    command.add_argument("folder", type=Path, metavar="FOLDER", help="the data, in VOC, COCO or YOLO layout")
    command.add_argument("--dataset", help="voc, coco or yolo (default: what the folder looks like)")
    place = "where a picture of each split goes (default: checked)"
    command.add_argument("--out", type=Path, default=Path("checked"), metavar="DIR", help=place)

    command = commands.add_parser("site", help="write the whole course as a static site, which opens from disk")
    command.set_defaults(command="course.site")
    command.add_argument("--out", type=Path, default=Path("site"), metavar="DIR", help="(default: site)")


def add_deploying(commands) -> None:
    """The commands that measure on other devices."""
    command = commands.add_parser("kit", help="export a space's blocks, to measure their latency on another device")
    command.set_defaults(command="devices.kit")
    command.add_argument("--space", required=True, help="such as yolo:course, fbnet or nasbench201:course")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder, or one to go on with")
    command.add_argument("-p", **SETTING, help="an option of the space, such as num_classes=20; may be repeated")
    networks = "whole networks to check the table with; correcting it takes 10 calm ones (default: 20)"
    command.add_argument("--networks", type=int, default=20, help=networks)
    spares = "more of them, each of which stands in for one that stays noisy (default: 4)"
    command.add_argument("--spares", type=int, default=4, help=spares)
    command.add_argument("--int8", action="store_true", help="files in int8 as well, for run_kit.py --precision int8")
    command.add_argument(
        "--opset", type=int, help="the version of ONNX's operators, where a device asks for an old one"
    )
    command.add_argument("--seed", type=int, default=0, help="draws the whole networks (default: 0)")
    command.add_argument("--batch", type=int, default=1, help="images per run (default: 1)")
    command.add_argument("--workers", type=int, help="processes to export with (default: one per core)")

    command = commands.add_parser("import-kit", help="make a latency table of what run_kit.py measured on the device")
    command.set_defaults(command="devices.import_kit")
    command.add_argument("folder", type=Path, metavar="DIR", help="the kit's folder")
    command.add_argument("--results", type=Path, metavar="FILE", help="what was measured (default: DIR/results.jsonl)")
    only = "a table from whole networks, for a device that cannot time blocks; results may be a CSV of network,ms"
    way = command.add_mutually_exclusive_group()
    way.add_argument("--estimate", action="store_true", help=only)
    log = "a table of mJ instead, by a meter's log: a CSV of seconds,watts (seconds since 1970)"
    way.add_argument("--energy", type=Path, metavar="LOG.csv", help=log)
    command.add_argument("--idle", type=float, default=0.0, metavar="W", help="watts at rest, taken off (default: 0)")
    command.add_argument("--out", type=Path, metavar="FILE", help="the table (default: DIR/latency_ms.json)")


def add_ranking(commands) -> None:
    """The command that ranks a file of architectures."""
    command = commands.add_parser("rank", help="score a file of architectures with a supernet, for a competition")
    command.set_defaults(command="ranking.rank")
    command.add_argument("file", type=Path, metavar="FILE.json", help='{"arch1": {"arch": "1322...", "acc": 0}, ...}')
    command.add_argument("--space", help="such as resnet48:course")
    command.add_argument("-p", **SETTING, help="an option of the space, such as num_classes=20; may be repeated")
    command.add_argument("--weights", type=Path, metavar="FILE", help="the supernet's: a checkpoint or PyTorch's file")
    command.add_argument("--dataset", default="digits", help="digits (default), cifar10, cifar100, folder or imagenet")
    command.add_argument("--data", type=Path, metavar="FOLDER", help="the folder of the images")
    images = "how they are drawn, such as distortion=0.5 (see nasedu.data.classification); may be repeated"
    command.add_argument("--images", action="append", default=[], metavar="NAME=VALUE", help=images)
    command.add_argument(
        "--state", type=Path, metavar="FILE", help="a line for every score: the next run goes on there"
    )
    command.add_argument("--share", default="1/1", metavar="i/n", help="only the i-th of n parts of the file")
    command.add_argument("--merge", type=Path, nargs="+", metavar="FILE", help="put the states of all parts together")
    command.add_argument("--workers", type=int, default=1, help="processes on the CPU (default: 1)")
    command.add_argument("--device", default="auto", help="auto (default), cpu, cuda ...")
    command.add_argument("--out", type=Path, metavar="FILE", help="what is submitted (default: FILE_ranked.json)")


NETWORK = "a space such as yolo:course, a structure string, ZenNet-1.0M, torchvision:resnet18, or my_module:make"


def add_training(commands) -> None:
    """The command that trains a network by a recipe."""
    command = commands.add_parser("train", help="train a classifier or a detector by a recipe, resumable")
    command.set_defaults(command="training.train")
    command.add_argument("network", metavar="NETWORK", help=NETWORK)
    command.add_argument("--arch", metavar="TEXT", help="of a space: an architecture, a file of one, or random")
    command.add_argument("-p", **SETTING, help="an option of the space, such as width=0.5; may be repeated")
    command.add_argument("--data", type=Path, metavar="FOLDER", help="the images (default: those built in)")
    sets = "digits, cifar10, cifar100, folder or imagenet; for detectors digits, voc, coco or yolo"
    command.add_argument("--dataset", help=sets)
    command.add_argument("--image-size", type=int, metavar="PX", help="(default: the recipe's)")
    images = "how they are read, such as size=5000; may be repeated"
    command.add_argument("--images", action="append", default=[], metavar="NAME=VALUE", help=images)
    recipes = "short (default), zen_cifar, zen_imagenet ...; for detectors short, voc2007, coco ..."
    command.add_argument("--recipe", metavar="NAME", help=recipes)
    changes = "a field of the recipe, such as lr=0.05 or mixup=0; may be repeated"
    command.add_argument("--set", dest="changes", action="append", default=[], metavar="NAME=VALUE", help=changes)
    command.add_argument("--epochs", type=int, help="(default: the recipe's)")
    command.add_argument("--weights", type=Path, metavar="FILE", help="where it starts: a file of weights")
    command.add_argument("--teacher", metavar="NETWORK", help="a classifier to learn from, as NETWORK")
    command.add_argument("--teacher-weights", type=Path, metavar="FILE", help="the teacher's")
    command.add_argument("--tensorboard", action="store_true", help="write TensorBoard's files beside training.csv")
    command.add_argument("--seed", type=int, default=0, help="(default: 0)")
    command.add_argument("--device", default="auto", help="auto (default), cpu, cuda ...")
    command.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the run's folder, or one to go on with"
    )


def add_searching(commands) -> None:
    """The command that searches in any space, with any sampler and any strategy."""
    command = commands.add_parser("search", help="train a supernet and search with it for the best architecture")
    command.set_defaults(command="searching.find")
    command.add_argument("--space", required=True, help="such as fbnet:course, spos or yolo:course")
    sampler = "what trains the supernet: uniform (default), fair, sandwich, progressive, pairs, softmax, gumbel, gates"
    command.add_argument("--sampler", default="uniform", help=sampler)
    strategy = "random, stratified, local, evolution (default), exhaustive, softmax, gumbel, gates or two_gates"
    command.add_argument("--strategy", default="evolution", help=strategy)
    setting = "num_classes=20 of the space, sampler.n=4, training.lr=.02, strategy.children=50; may be repeated"
    command.add_argument("-p", **SETTING, help=setting)
    command.add_argument("--epochs", type=int, default=20, help="of the supernet, and of the logits (default: 20)")
    command.add_argument("--budget", type=int, default=200, help="architectures that are asked about (default: 200)")
    command.add_argument("--batch-size", type=int, default=64, help="images of a training step (default: 64)")
    data = "digits (default), cifar10, cifar100, folder or imagenet; for detectors digits, voc, coco or yolo"
    command.add_argument("--dataset", default="digits", help=data)
    command.add_argument("--data", type=Path, metavar="FOLDER", help="the folder of the images")
    images = "how they are drawn, such as size=500, val_size=100 or distortion=.5; may be repeated"
    command.add_argument("--images", action="append", default=[], metavar="NAME=VALUE", help=images)
    command.add_argument("--seed", type=int, default=0, help="of weights and draws (default: 0)")
    command.add_argument("--device", default="auto", help="auto (default), cpu, cuda ...")
    command.add_argument("--workers", type=int, default=1, help="processes that evaluate, on the CPU (default: 1)")
    cluster = "a Dask scheduler whose workers evaluate: tcp://HOST:8786, or its --scheduler-file"
    command.add_argument("--cluster", metavar="ADDRESS", help=cluster)
    patience = "seconds of an evaluation on other processes before it is tried again (default: no limit)"
    command.add_argument("--patience", type=float, metavar="SECONDS", help=patience)
    out = "results and states; the same command goes on there (default: runs/search-SPACE-SAMPLER-STRATEGY)"
    command.add_argument("--out", type=Path, metavar="DIR", help=out)


def add_detecting(commands) -> None:
    """The commands that use a trained detector or classifier."""
    folder = "a run of notebook 14 or of nasedu train, a detector's folder, or an exported FILE.onnx (but for export)"
    which = "of a run: searched (default), hand-designed or random; of a classifier: my_module:make, which made it"
    for name, module, about in (
        ("detect", "pictures", "tell and draw what a trained detector sees in pictures"),
        ("evaluate", "pictures", "test a trained detector or classifier on labelled images"),
        ("export", "devices", "write a trained detector as one ONNX file"),
    ):
        command = commands.add_parser(name, help=about)
        command.set_defaults(command=f"{module}.{name}")
        command.add_argument("run", type=Path, metavar="RUN", help=folder)
        command.add_argument("--network", metavar="NAME", help=which)
        if name != "export":
            runs = "of FILE.onnx: onnxruntime (default) or openvino, which may name a device, as in openvino:GPU"
            command.add_argument("--runtime", metavar="NAME", help=runs)
        if name == "evaluate":
            add_testing(command)
            continue
        usual = (0.3, 0.45) if name == "detect" else (None, None)  # of a file they are told only where they go inside
        command.add_argument(
            "--confidence", type=float, default=usual[0], help="least score of an object (default: .3)"
        )
        overlap = "overlap from which the better box suppresses the other (default: .45)"
        command.add_argument("--iou", type=float, default=usual[1], help=overlap)
        if name == "detect":
            command.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help="photographs")
            drawn = "the picture with its boxes (.png, .jpg or .webp), or a folder for NAME_seen.png"
            command.add_argument("--out", type=Path, metavar="FILE", help=drawn)
            command.add_argument("--json", action="store_true", help="print JSON")
        else:
            command.add_argument("--out", type=Path, required=True, metavar="FILE.onnx", help="the file")
            command.add_argument("--opset", type=int, help="version of ONNX's operators, 12 to 23")
            command.add_argument("--suppress", action="store_true", help="put the suppression of overlaps inside")
            scales = "compute in int8, on scales that fit the images of a folder, or digits"
            command.add_argument("--int8", metavar="FOLDER", help=scales)


def add_testing(command) -> None:
    """What may be asked of `nasedu evaluate`."""
    command.add_argument("--data", type=Path, metavar="FOLDER", help="the images, in VOC, COCO or YOLO layout")
    sets = "voc, coco, yolo or digits (default: what the folder looks like); of a classifier as for train"
    command.add_argument("--dataset", help=sets)
    command.add_argument("--weights", type=Path, metavar="FILE", help="a classifier's: RUN is its NETWORK then")
    command.add_argument("--arch", metavar="TEXT", help="with --weights, as for train")
    command.add_argument("-p", **SETTING, help="with --weights, as for train")
    command.add_argument("--image-size", type=int, metavar="PX", help="with --weights, as for train")
    images = "of a classifier: how they are read, such as normalise=published"
    command.add_argument("--images", action="append", default=[], metavar="NAME=VALUE", help=images)
    halves = "float32 (default), bfloat16 or float16: in which the network computes"
    command.add_argument("--precision", default="float32", help=halves)
    command.add_argument("--device", default="cpu", help="cpu (default), auto, cuda ...")
    command.add_argument("--split", default="test", help="train, val or test (default: test)")
    views = "look at each image three times: at scale 1, .83 mirrored and .67"
    command.add_argument("--views", action="store_true", help=views)
    command.add_argument("--coco", type=Path, metavar="FILE", help="write the detections for COCO's tools")


def add_counting(commands) -> None:
    """The commands that count and time a network."""
    for name, about in {"count": "count a network's MACs and parameters", "measure": "time a network here"}.items():
        command = commands.add_parser(name, help=about)
        command.set_defaults(command=f"networks.{name}")
        command.add_argument("network", metavar="NETWORK", help=NETWORK)
        command.add_argument("--arch", metavar="TEXT", help="of a space: an architecture, a file of one, or random")
        command.add_argument("-p", **SETTING, help="an option of the space, such as num_classes=20; may be repeated")
        command.add_argument("--image-size", type=int, metavar="PX", help="(default: the space's, else 224)")
        if name == "count":
            command.add_argument("--layers", action="store_true", help="a line for every layer")
        else:
            backends = "torch, compiled, onnxruntime, openvino, or cuda, which is usual on such a GPU"
            command.add_argument("--backend", help=backends)
            numbers = "float32; float16, bfloat16 on a GPU; int8 with onnxruntime, openvino"
            command.add_argument("--precision", default="float32", help=numbers)
            command.add_argument("--batch", type=int, default=1, help="images of one run (default: 1)")
            command.add_argument("--threads", type=int, default=1, help="of the CPU (default: 1)")
            command.add_argument("--device", help="cpu, cuda ... (default: cpu)")


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks for; a mistake ends in its one sentence. Returns the exit status."""
    for stream in (sys.stdout, sys.stderr):  # of a terminal that has not all characters: it shows their numbers
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    args = parser().parse_args(arguments)
    try:
        module, _, name = args.command.partition(".")  # loaded by those who ask for it: it takes seconds
        return getattr(import_module(f"nasedu.commands.{module}"), name)(args)
    except NaseduError as error:
        return fail(error, 2)
    except OSError as error:  # of a path that no file can have, or a full disk
        return fail(sentence(f"{error.filename or 'the system says'}: {error.strerror or error}"), 2)
    except KeyboardInterrupt:
        return fail("interrupted; the same command goes on where it was", 130)


if __name__ == "__main__":
    sys.exit(main())
