"""Commands that run, build, open and grade the course's notebooks, and write its site."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys

from nasedu.commands import fail
from nasedu.course import places
from nasedu.course.bar import Bar
from nasedu.course.build import BuildFailed, drifted
from nasedu.course.build import build as build_notebooks
from nasedu.course.desk import lay_out
from nasedu.course.grading import grade as grade_folder
from nasedu.course.pages.site import build_site
from nasedu.course.run import run_all
from nasedu.errors import NaseduError, ParameterError

NEVER = "jupyterlab.handlers.announcements.NeverCheckForUpdate"


def run(args: argparse.Namespace) -> int:
    """Run notebooks one after another; the exit status."""
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
    if not args.folder.is_dir():
        raise ParameterError(f"{args.folder} is no folder")
    jobs = (os.cpu_count() or 1) if args.jobs is None else args.jobs
    with Bar(desc="grading", unit=" notebooks", delay=0.1) as bar:
        page = grade_folder(args.folder, args.out, args.limit, jobs, bar.show)
    print(f"{page}, {page.with_suffix('.csv')}")
    return 0


def lab(args: argparse.Namespace) -> int:
    """Open JupyterLab on a copy of the notebooks; its exit status."""
    desk = args.desk or places.ROOT / "work"
    places.pick([], places.names())  # outside of a checkout there is nothing to copy, and that is said
    for path in lay_out(places.make(desk)):
        print(f"{places.shown(path)} is yours and stays; the course's newer one lies beside it (.new.ipynb)")
    quiet = ["--LabApp.news_url=None", f"--LabApp.check_for_updates_class={NEVER}"]  # it asks nobody for anything
    command = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={desk}", *quiet, *args.rest]
    with subprocess.Popen(command) as started:
        # else it would run on, and keep its port
        before = signal.signal(signal.SIGTERM, lambda *_: started.terminate())
        try:
            return started.wait()
        finally:
            signal.signal(signal.SIGTERM, before)


def site(args: argparse.Namespace) -> int:
    """Write the course as a static site; the exit status."""
    print(f"{build_site(args.out)}: open it in a browser")
    return 0
