"""Run notebooks through papermill: parameters checked first, interrupted runs continued, results kept."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nasedu import errors
from nasedu.course import kernel, parameters, places
from nasedu.course.folder import RunFolder
from nasedu.course.outputs import tidy
from nasedu.course.pages.index import PAGE as INDEX
from nasedu.course.pages.index import overview
from nasedu.course.pages.markdown import Links
from nasedu.course.pages.notebook import outside, page
from nasedu.course.progress import Progress
from nasedu.files import write_atomically

with errors.needs("course"):
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

USER_ERRORS = {kind.__name__ for kind in vars(errors).values() if isinstance(kind, type)}


class NotebookFailed(Exception):
    """A notebook stopped with an error that is not the user's."""


def run_all(wanted: list[str], settings: Iterable[str], preset: str | None, out: Path | None) -> list[dict]:
    """Run notebooks one after another; see `run`. Every one's settings are checked before the first runs.

    wanted: names or their beginnings; `all` or none is every notebook.
    settings: `name=value` texts.
    preset: one of the presets, or None for the default.
    out: the folder of runs, or None for the project's.
    Several end in a page with links to all, and a file that sums them up. Returns a dict of notebook, seconds, problem
    (the exception, or None) and folder (None where there is none) for each.
    """
    plans = {name: checked(name, settings, preset) for name in places.pick(wanted, places.names())}
    several = len(plans) > 1
    rows = [_attempt(name, given, out, _to_index if several else outside) for name, given in plans.items()]
    if several:
        print(f"\n{places.shown(overview(rows, places.make(out or places.runs())))}: all of them")
    return rows


def checked(notebook: str, settings: Iterable[str], preset: str | None = None) -> dict[str, Any]:
    """The values of `name=value` texts, by the types that the notebook's parameters cell declares.

    notebook: its name.
    settings: the texts.
    preset: a preset beside them, or None.
    Relative paths are taken from the working directory, where the person stands.
    Raises `UnknownName` or `ParameterError`; nothing has run then.
    """
    declared = papermill.inspect_notebook(places.learner(notebook))
    given = {}
    for name, text in parameters.pairs(settings):
        errors.check_name("parameter", name, declared)
        value = parameters.parse(name, text, declared[name]["inferred_type_name"])
        given[name] = _from_here(name, value)
    if preset and given.get("preset", preset) != preset:
        raise errors.ParameterError(f"--preset {preset} contradicts -p preset={given['preset']}")
    given["preset"] = preset or given.get("preset") or parameters.default_preset()
    kinds = {name: parameter["inferred_type_name"] for name, parameter in declared.items()}
    parameters.resolve(notebook, given, kinds)
    return given


def run(notebook: str, given: Mapping[str, Any], out: Path | None = None, links: Links = outside) -> Path:
    """Run the learner's notebook and return the folder of its results.

    notebook: its name.
    given: its parameters, as `checked` returns them; an `out_dir` fixes the folder.
    out: else the folder of runs, None for the project's.
    links: where the page's links to other notebooks lead.
    The folder gets the executed notebook, an HTML page, `result.json` and `figures/`. The newest
    unfinished run of the same notebook, parameters and code is continued.
    Raises `NaseduError` as one raised inside the notebook, `NotebookFailed` for any other error there.
    """
    given = dict(given)
    fixed = given.pop("out_dir", None)
    folder = RunFolder(out or places.runs(), notebook, given, Path(fixed) if fixed else None)
    verb = "continues the interrupted run in" if folder.resumed else "runs in"
    print(f"{notebook}, preset {given['preset']}, {verb} {places.shown(folder.path)}", flush=True)
    try:
        executed = _execute(notebook, {**given, "out_dir": str(folder.path)}, folder.path)
        write_atomically(folder.page(), page(executed, notebook, links))
    except errors.NaseduError:
        folder.discard()
        raise
    finally:
        folder.release()
    _report(folder.path)
    return folder.path


def _to_index(url: str) -> str | None:
    """A link to another notebook leads to its row in the index, from a page in its run's folder."""
    path = Path(url.split("#")[0])
    return f"../{INDEX}#{path.stem}" if path.suffix == ".ipynb" else outside(url)


def _attempt(name: str, given: Mapping[str, Any], out: Path | None, links: Links) -> dict:
    start, problem, folder = time.monotonic(), None, None
    try:
        folder = run(name, given, out, links)
    except (errors.NaseduError, NotebookFailed) as error:
        problem = error
    return {"notebook": name, "seconds": time.monotonic() - start, "problem": problem, "folder": folder}


def _execute(notebook: str, values: dict[str, Any], folder: Path) -> nbformat.NotebookNode:
    logging.getLogger("papermill").setLevel(logging.ERROR)
    progress = Progress()
    try:
        executed = kernel.started(
            lambda: papermill.execute_notebook(
                places.learner(notebook),
                folder / f"{notebook}.ipynb",
                parameters=values,
                cwd=places.notebooks(),
                kernel_name=kernel.NAME,
                engine_name="nasedu",
                progress=progress,
                progress_bar=False,
                extra_arguments=kernel.ARGUMENTS,
                kernel_manager_class=kernel.Quiet,
            )
        )
        tidy(executed)
        write_atomically(folder / f"{notebook}.ipynb", nbformat.writes(executed))
        return executed
    except PapermillExecutionError as error:
        raise _sentence(error, progress.heading, folder) from None
    except OSError as error:
        raise errors.OutputError(f"cannot write to {places.shown(folder)}: {error.strerror or error}") from None
    except DeadKernelError:
        raise NotebookFailed("the kernel died, probably for want of memory: try a smaller preset") from None


def _sentence(error: PapermillExecutionError, section: str, folder: Path) -> Exception:
    """A user's mistake keeps its type and sentence; anything else is told with where it happened."""
    if error.ename in USER_ERRORS:
        return getattr(errors, error.ename)(error.evalue)
    return NotebookFailed(
        f"section {section!r} failed with {error.ename}: {error.evalue}\n"
        f"the traceback stands in the notebook in {places.shown(folder)}"
    )


def _report(folder: Path) -> None:
    """Say what the run found, from its result.json, and which files it left."""
    with contextlib.suppress(FileNotFoundError):
        result = json.loads((folder / "result.json").read_text())
        print(f"\n{result['summary']}\n\n{result['seconds']:.0f} s on {result['device']}")
    found = [path.name + "/" * path.is_dir() for path in sorted(folder.iterdir()) if path.name[0] != "."]
    print(f"{places.shown(folder)}: {', '.join(found)}")


def _from_here(name: str, value: Any) -> Any:
    """A path that is relative to the working directory, made absolute; any other value as it is.

    Beside the parameters that are always paths, a text is one that names an existing file or folder and has a slash in
    it, or an existing file and has an ending: `device=cpu` stays what it is beside a file named cpu.
    """
    if not isinstance(value, str):
        return value
    path = os.path.expanduser(value)
    file = Path(path).suffix and os.path.isfile(path)  # which are False, not an error, for a name that cannot be
    if parameters.is_path(name) or ("/" in value and os.path.exists(path)) or file:
        return os.path.abspath(path)
    return value
