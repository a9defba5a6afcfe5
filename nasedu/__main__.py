"""The command line: `nasedu run`, `build`, `lab`, `grade`, `site`, `check-data`, `kit`, `import-kit`, `rank`.

Exit status: 0 done, 1 something failed, 2 a mistake in what was asked for, 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from nasedu.errors import NaseduError, ParameterError, brief, check_name, check_whole, sentence

# options of `data.classification` that a ranking may set, and their types
DRAWN = {"size": "int", "seed": "int", "distortion": "float", "noise": "float", "normalise": "str"}
MOST_WORKERS = 1024
NEVER = "jupyterlab.handlers.announcements.NeverCheckForUpdate"


def run(args: argparse.Namespace) -> int:
    """Run notebooks one after another; the exit status."""
    from nasedu.course.run import run_all

    rows = run_all(args.notebooks, args.settings, args.preset, args.out and args.out.absolute())
    if len(rows) > 1:
        print("\nwhere the time went")
        for row in rows:
            verdict = "failed" if row["problem"] else "done"
            print(f"  {row['notebook']:30} {row['seconds']:6.0f} s  {verdict}")
    problems = [row["problem"] for row in rows if row["problem"]]
    statuses = [fail(problem, 2 if isinstance(problem, NaseduError) else 1) for problem in problems]
    return min(statuses, default=0)


def build(args: argparse.Namespace) -> int:
    """Build notebooks from their sources, or check that they were; the exit status."""
    from nasedu.course.build import BuildFailed, drifted
    from nasedu.course.build import build as build_notebooks

    if args.check:
        stale = drifted(args.notebooks)
        return fail(f"not what their source says, run make notebooks: {', '.join(stale)}", 1) if stale else 0
    try:
        build_notebooks(args.notebooks, args.preset, not args.no_execute)
    except BuildFailed as failure:
        return fail(failure, 1)
    return 0


def grade(args: argparse.Namespace) -> int:
    """Grade handed-in notebooks; the exit status."""
    from nasedu.course.bar import Bar
    from nasedu.course.grading import grade as grade_folder

    if not args.folder.is_dir():
        raise ParameterError(f"{args.folder} is no folder")
    jobs = (os.cpu_count() or 1) if args.jobs is None else args.jobs
    with Bar(desc="grading", unit=" notebooks", delay=0.1) as bar:
        page = grade_folder(args.folder, args.out, args.limit, jobs, bar.show)
    print(f"{page}, {page.with_suffix('.csv')}")
    return 0


def lab(args: argparse.Namespace) -> int:
    """Open JupyterLab on a copy of the notebooks; its exit status."""
    from nasedu.course import places
    from nasedu.course.desk import lay_out

    desk = args.desk or places.ROOT / "work"
    places.pick([], places.names())  # outside of a checkout there is nothing to copy, and that is said
    for path in lay_out(places.make(desk)):
        print(f"{places.shown(path)} is yours and stays; the course's newer one lies beside it (.new.ipynb)")
    quiet = ["--LabApp.news_url=None", f"--LabApp.check_for_updates_class={NEVER}"]  # it asks nobody for anything
    return subprocess.run([sys.executable, "-m", "jupyterlab", f"--notebook-dir={desk}", *quiet, *args.rest]).returncode


def site(args: argparse.Namespace) -> int:
    """Write the course as a static site; the exit status."""
    from nasedu.course.pages.site import build_site

    print(f"{build_site(args.out)}: open it in a browser")
    return 0


def kit(args: argparse.Namespace) -> int:
    """Export a space's blocks for another device; the exit status."""
    from tqdm import tqdm

    from nasedu.deploy.kit import write_kit
    from nasedu.tables.additivity import FEWEST

    space = named_space(args.space, args.settings)
    workers = check_whole("workers", os.cpu_count() or 1 if args.workers is None else args.workers, 1, MOST_WORKERS)
    with tqdm(desc=f"exporting {space.name}", unit=" files", delay=0.1) as bar:  # not beside a mistake

        def show(done: int, total: int, note: str = "") -> None:
            bar.total = total
            bar.update(done - bar.n)

        made = write_kit(space, args.out, args.networks, args.seed, args.batch, workers=workers, progress=show)
    files = [entry["file"] for entry in made["entries"] if entry["file"]]
    size = sum((args.out / file).stat().st_size for file in files) / 1e6
    print(f"{args.out}: {len(files)} files, {size:.1f} MB. Copy the folder to the device and run there:")
    print("  python3 -m venv env && env/bin/pip install numpy onnxruntime    (1.18 or newer)")
    print("  env/bin/python run_kit.py")
    if args.networks < FEWEST:
        print(f"With {args.networks} whole networks there will be no corrected table: that takes {FEWEST} or more.")
    return 0


def named_space(name: str, settings: list[str]):
    """The space of this name with the options of `NAME=VALUE` texts. Raises `NaseduError`."""
    from nasedu import spaces
    from nasedu.course.parameters import pairs, parse

    return spaces.create(name, **{option: parse(option, text, "") for option, text in pairs(settings)})


def import_kit(args: argparse.Namespace) -> int:
    """Make a lookup table of what was measured with a kit; the exit status."""
    from nasedu.deploy import kit as kits

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


def rank(args: argparse.Namespace) -> int:
    """Score a file of architectures with a supernet; the exit status."""
    from nasedu.deploy import submission

    out = args.out or args.file.with_name(f"{args.file.stem}_ranked.json")
    if args.merge:
        scores = submission.merge(args.file, args.merge)
    else:
        scores = ranked(args)
        if args.share != "1/1":
            print(f"{args.state}: {len(scores)} networks; --merge puts the states of all shares together")
            return 0
    submission.write(args.file, scores, out)
    print(f"{out}: {len(scores)} networks, from {min(scores.values()):.4f} to {max(scores.values()):.4f}")
    return 0


def ranked(args: argparse.Namespace) -> dict[str, float]:
    """The scores that `nasedu rank` asks for, of its share."""
    from concurrent.futures import ProcessPoolExecutor
    from contextlib import nullcontext

    from torch import set_num_threads

    from nasedu.course.bar import Bar
    from nasedu.deploy import submission

    if not args.space or not args.weights or not args.state:
        raise ParameterError("a ranking needs --space, --weights and --state, or --merge with the states of its shares")
    share = args.share.split("/")
    if len(share) != 2 or not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in share):
        raise ParameterError(f"--share is i/n, as in 2/16, got {brief(args.share)}")
    check_whole("workers", args.workers, 1, MOST_WORKERS)
    space, evaluate = judge(args)
    threads = max(1, (os.cpu_count() or 1) // args.workers)
    several = args.workers > 1
    pool = ProcessPoolExecutor(args.workers, initializer=set_num_threads, initargs=(threads,)) if several else None
    with pool or nullcontext() as executor, Bar(desc="ranking", unit=" networks", delay=0.1) as bar:
        kept = {
            "state": args.state,
            "share": (int(share[0]), int(share[1])),
            "executor": executor,
            "progress": bar.show,
        }
        return submission.rank(args.file, space, evaluate, **kept)


def judge(args: argparse.Namespace):
    """The space of a ranking, and the supernet that judges its networks on the images."""
    from nasedu.course.parameters import pairs, parse
    from nasedu.course.setup import pick_device
    from nasedu.data import classification
    from nasedu.search import SupernetScore
    from nasedu.spaces.base import check_decided
    from nasedu.storage import load_weights
    from nasedu.task import Classification

    space, device = named_space(args.space, args.settings), pick_device(args.device)
    check_decided("a ranking", space)
    if args.workers > 1 and device.type != "cpu":
        raise ParameterError("several workers share the CPU alone: on another device take --workers 1 and --share")
    supernet = space.supernet()
    load_weights(supernet, args.weights)
    options = {"root": args.root, "image_size": space.input_shape[-1]}
    for name, text in pairs(args.images, "--images"):
        check_name("option of the images", name, DRAWN)
        options[name] = parse(name, text, DRAWN[name])
    parts = [classification(args.data, part, **options).to(device) for part in ("train", "test")]
    known = len(parts[0].classes)
    if (wanted := getattr(getattr(space, "options", None), "num_classes", known)) != known:
        raise ParameterError(f"the space has {wanted} classes, the images of {args.data} {known}: see -p num_classes")
    task = Classification(parts[0], test=parts[1], batch_size=128)
    return space, SupernetScore(space, supernet.to(device), task, "test")


def check_data(args: argparse.Namespace) -> int:
    """Read every split of a data folder and tell what was found, with a picture of each; the exit status."""
    import warnings

    from nasedu import data, plots
    from nasedu.data.notes import shown
    from nasedu.files import write_atomically

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


def fail(problem: object, status: int) -> int:
    """Tell what went wrong on stderr, and return the exit status `status`."""
    print(f"nasedu: {problem}", file=sys.stderr)
    return status


SETTING: dict[str, Any] = {"dest": "settings", "action": "append", "default": [], "metavar": "NAME=VALUE"}


def parser() -> argparse.ArgumentParser:
    """What may stand on the command line."""
    about = "Run, build and grade the course's notebooks, and time blocks on other devices."
    top = argparse.ArgumentParser("nasedu", description=about)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    add_running(commands)
    add_teaching(commands)
    add_deploying(commands)
    add_ranking(commands)
    return top


def add_running(commands) -> None:
    """The commands that run or write notebooks."""
    command = commands.add_parser("run", help="run notebooks and keep their results in runs/NAME-TIME/")
    command.set_defaults(function=run)
    command.add_argument("notebooks", nargs="+", metavar="NOTEBOOK", help="such as 14_wzdnas or 14, or all")
    command.add_argument("--preset", help="smoke, quick, full or gpu (default: $NASEDU_PRESET, else quick)")
    command.add_argument("-p", **SETTING, help="a parameter of the notebook; may be repeated")
    command.add_argument("--out", type=Path, metavar="DIR", help="keep the runs here instead of in runs/")

    command = commands.add_parser("build", help="build the notebooks from notebooks/source/, with outputs")
    command.set_defaults(function=build)
    command.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="such as 14_wzdnas (default: all)")
    command.add_argument("--preset", default="quick", help="smoke, quick, full or gpu (default: quick)")
    command.add_argument("--check", action="store_true", help="only say which are not what their source says")
    command.add_argument("--no-execute", action="store_true", help="write them without outputs")


def add_teaching(commands) -> None:
    """The commands for those who learn and teach with the course, and bring their own data."""
    command = commands.add_parser("lab", help="open JupyterLab on a copy of the notebooks, which is yours to change")
    command.set_defaults(function=lab)
    command.add_argument("--desk", type=Path, metavar="DIR", help="where the copy lies (default: work/)")
    command.add_argument("rest", nargs="*", metavar="ARGUMENT", help="JupyterLab's own, behind --")

    command = commands.add_parser("grade", help="run the checkers on handed-in notebooks; write grades.csv and a page")
    command.set_defaults(function=grade)
    command.add_argument("folder", type=Path, metavar="DIR", help="the hand-ins, also in folders below; they stay")
    command.add_argument(
        "--out", type=Path, default=Path("marks"), metavar="DIR", help="where the marks go (default: marks)"
    )
    command.add_argument("--limit", type=float, default=30, help="seconds an answer may take (default: 30)")
    command.add_argument("--jobs", type=int, help="hand-ins at a time (default: one per core)")

    command = commands.add_parser(
        "check-data", help="read a folder of images with boxes, and tell what is wrong with it"
    )
    command.set_defaults(function=check_data)
    command.add_argument("folder", type=Path, metavar="FOLDER", help="the data, in VOC, COCO or YOLO layout")
    command.add_argument("--dataset", help="voc, coco or yolo (default: what the folder looks like)")
    place = "where a picture of each split goes (default: checked)"
    command.add_argument("--out", type=Path, default=Path("checked"), metavar="DIR", help=place)

    command = commands.add_parser("site", help="write the whole course as a static site, which opens from disk")
    command.set_defaults(function=site)
    command.add_argument("--out", type=Path, default=Path("site"), metavar="DIR", help="(default: site)")


def add_deploying(commands) -> None:
    """The commands that measure on other devices."""
    command = commands.add_parser("kit", help="export a space's blocks, to measure their latency on another device")
    command.set_defaults(function=kit)
    command.add_argument("--space", required=True, help="such as yolo:course, fbnet or nasbench201:course")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder, or one to go on with")
    command.add_argument("-p", **SETTING, help="an option of the space, such as num_classes=20; may be repeated")
    networks = "whole networks to check the table with; correcting it takes 10 calm ones (default: 20)"
    command.add_argument("--networks", type=int, default=20, help=networks)
    command.add_argument("--seed", type=int, default=0, help="draws the whole networks (default: 0)")
    command.add_argument("--batch", type=int, default=1, help="images per run (default: 1)")
    command.add_argument("--workers", type=int, help="processes to export with (default: one per core)")

    command = commands.add_parser("import-kit", help="make a latency table of what run_kit.py measured on the device")
    command.set_defaults(function=import_kit)
    command.add_argument("folder", type=Path, metavar="DIR", help="the kit's folder")
    command.add_argument("--results", type=Path, metavar="FILE", help="what was measured (default: DIR/results.jsonl)")
    command.add_argument("--out", type=Path, metavar="FILE", help="the table (default: DIR/latency_ms.json)")


def add_ranking(commands) -> None:
    """The command that ranks a file of architectures."""
    command = commands.add_parser("rank", help="score a file of architectures with a supernet, for a competition")
    command.set_defaults(function=rank)
    command.add_argument("file", type=Path, metavar="FILE.json", help='{"arch1": {"arch": "1322...", "acc": 0}, ...}')
    command.add_argument("--space", help="such as resnet48:course")
    command.add_argument("-p", **SETTING, help="an option of the space, such as num_classes=20; may be repeated")
    command.add_argument("--weights", type=Path, metavar="FILE", help="the supernet's: a checkpoint or PyTorch's file")
    command.add_argument("--data", default="digits", help="digits (default), cifar10, cifar100, folder or imagenet")
    command.add_argument("--root", type=Path, metavar="DIR", help="the folder of the images")
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


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks for; a mistake ends in its one sentence. Returns the exit status."""
    for stream in (sys.stdout, sys.stderr):  # of a terminal that has not all characters: it shows their numbers
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    args = parser().parse_args(arguments)
    try:
        return args.function(args)
    except NaseduError as error:
        return fail(error, 2)
    except OSError as error:  # of a path that no file can have, or a full disk
        return fail(sentence(f"{error.filename or 'the system says'}: {error.strerror or error}"), 2)
    except KeyboardInterrupt:
        return fail("interrupted; the same command goes on where it was", 130)


if __name__ == "__main__":
    sys.exit(main())
