"""Make the stored lookup tables: `python lookup/build.py` counts, and with `--latency` measures this machine, too.

It goes on where it was stopped: a file that is there and fits its space is left as it is, so to make one again, delete
it. `--only "fbnet*"` makes the files whose names fit the pattern.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
from pathlib import Path

from nasedu import spaces
from nasedu.errors import NaseduError, TableError
from nasedu.tables import LookupTable
from nasedu.tables.lookup import file_name

HERE = Path(__file__).parent
COURSE = {f"{name}:course": {} for name in spaces.names()}
COUNTED = COURSE | {"yolo:p5": {"num_classes": 20}, "yolo:csp": {"num_classes": 20}}
ROUNDS = 20  # of a measurement: slow minutes of the machine spoil only some of them
MEASURED = [*COURSE.items(), ("yolo:course", {"image_size": 96}), ("proxylessnas", {})]


def tables(latency: bool, how: dict[str, str]) -> dict[str, tuple[str, dict, str, dict]]:
    """By file name: the space's name and options, the metric, and the options of its measurement.

    latency: whether to measure as well.
    how: backend and precision.
    """
    wanted = [(name, made, metric, {}) for name, made in COUNTED.items() for metric in ("macs", "params")]
    if latency:
        wanted += [(name, made, "latency_ms", how) for name, made in MEASURED]
    named = {}
    for name, made, metric, options in wanted:
        pixels = spaces.create(name, **made).input_shape[-1]
        often = {"rounds": ROUNDS} if options else {}
        named[file_name(name, pixels, metric, **options)] = (name, made, metric, options | often)
    return named


def make(path: Path, name: str, made: dict, metric: str, options: dict) -> bool:
    """Make one table, unless `path` holds it; whether it was made."""
    space = spaces.create(name, **made)
    if path.exists():
        try:
            LookupTable.load(path, space)
            return False
        except TableError as misfit:
            print(f"{misfit}; made again", flush=True)
    LookupTable.build(space, metric, **options).save(path)
    return True


def main(argv: list[str] | None = None) -> int:
    """Make what is asked for on the command line; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", default="*", metavar="PATTERN", help="file names to make, such as 'fbnet*'")
    parser.add_argument("--latency", action="store_true", help="measure as well: leave the machine alone meanwhile")
    parser.add_argument("--backend", default="torch", help="torch, compiled, onnxruntime, openvino or cuda")
    parser.add_argument("--precision", default="float32", help="float32; int8 with onnxruntime and openvino")
    arguments = parser.parse_args(argv)
    wanted = tables(arguments.latency, {"backend": arguments.backend, "precision": arguments.precision})
    chosen = fnmatch.filter(wanted, arguments.only)
    if not chosen:
        print(f"no table is named like {arguments.only!r}: {', '.join(wanted)}", file=sys.stderr)
        return 2
    try:
        for file in chosen:
            print(f"{file}: {'made' if make(HERE / file, *wanted[file]) else 'there already'}", flush=True)
    except NaseduError as problem:
        print(f"{file}: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
