"""The command line: `python -m nasedu run` and `python -m nasedu build`.

Exit status: 0 done, 1 something failed, 2 a mistake in what was asked for, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nasedu.errors import NaseduError


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


def fail(problem: object, status: int) -> int:
    print(f"nasedu: {problem}", file=sys.stderr)
    return status


def parser() -> argparse.ArgumentParser:
    """What may stand on the command line."""
    top = argparse.ArgumentParser("python -m nasedu", description="Run and build the course's notebooks.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("run", help="run notebooks and keep their results in runs/NAME-TIME/")
    command.set_defaults(function=run)
    command.add_argument("notebooks", nargs="+", metavar="NOTEBOOK", help="such as 14_wzdnas, or all")
    command.add_argument("--preset", help="smoke, quick, full or gpu (default: $NASEDU_PRESET, else quick)")
    setting = {"dest": "settings", "action": "append", "default": [], "metavar": "NAME=VALUE"}
    command.add_argument("-p", **setting, help="a parameter of the notebook; may be repeated")
    command.add_argument("--out", type=Path, metavar="DIR", help="keep the runs here instead of in runs/")

    command = commands.add_parser("build", help="build the notebooks from notebooks/source/, with outputs")
    command.set_defaults(function=build)
    command.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="such as 14_wzdnas (default: all)")
    command.add_argument("--preset", default="quick", help="smoke, quick, full or gpu (default: quick)")
    command.add_argument("--check", action="store_true", help="only say which are not what their source says")
    command.add_argument("--no-execute", action="store_true", help="write them without outputs")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks for; a mistake ends in its one sentence. Returns the exit status."""
    args = parser().parse_args(arguments)
    try:
        return args.function(args)
    except NaseduError as error:
        return fail(error, 2)
    except KeyboardInterrupt:
        return fail("interrupted; the same command goes on where it was", 130)


if __name__ == "__main__":
    sys.exit(main())
