"""The package as a person gets it who has only the wheel: no checkout, an empty folder, no extras."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)
EXTRAS = ("jupyterlab", "ipykernel", "jupytext", "nbclient", "nbconvert", "nbformat", "papermill")
EXTRAS += ("onnx", "onnxruntime", "onnxscript", "distributed", "mypy", "nbval", "pytest", "ruff")
# The installed package stands first on the path; a checkout that an editable install names is taken off it.
BEFORE = """
import sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]
sys.path[:] = [{installed!r}] + [folder for folder in sys.path if folder and folder != {root!r}]
sys.modules.update(dict.fromkeys({blocked!r}))
import nasedu
assert nasedu.__file__.startswith({installed!r}), nasedu.__file__
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that the wheel, built from a copy of the source, is installed into; no network is used."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("nasedu", "datasets", "lookup"):
        ignored = shutil.ignore_patterns("__pycache__", "VOCdevkit", "coco")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = [*pip, "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", str(folder), str(source)]
    subprocess.run(wheel, check=True, capture_output=True)
    (built,) = folder.glob("nasedu-*.whl")
    target = ["--target", str(folder / "installed"), str(built)]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", *target], check=True, capture_output=True)
    return folder / "installed"


@pytest.fixture
def alone(installed, tmp_path):
    """`alone(program)`: what it prints in an empty folder, without the extras; `blocked` says without what else."""

    def run(program, blocked=EXTRAS):
        before = BEFORE.format(installed=str(installed), root=str(ROOT), blocked=tuple(blocked))
        command = [sys.executable, "-I", "-c", before + program]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return run


def test_every_python_snippet_of_the_readme_runs(alone):
    assert len(SNIPPETS) >= 4
    printed = alone("\n".join(SNIPPETS))
    assert len(printed.splitlines()) > 2 * len(SNIPPETS)


def test_tables_and_truth_travel_with_the_package(alone):
    printed = alone("""
from nasedu import spaces, tables
from nasedu.data import benchmark
for name, metric in (("fbnet:course", "macs"), ("yolo:course", "latency_ms"), ("proxylessnas", "latency_ms")):
    print(tables.stored(spaces.create(name), metric).metric)
table = tables.latency_table(spaces.create("yolo:course"), "lookup/yolo-course-128-latency_ms-onnxruntime.json")
print(table.provenance["backend"], len(benchmark.load()), len(benchmark.proxy_scores()))
""")
    assert printed.split() == ["macs", "latency_ms", "latency_ms", "onnxruntime", "729", "3"]


def test_every_part_imports_without_the_extras_but_those_that_are_theirs(alone):
    printed = alone("""
import importlib, pkgutil
from nasedu.errors import BackendError
for part in pkgutil.walk_packages(nasedu.__path__, "nasedu.", onerror=lambda name: None):
    if not part.name.endswith("__main__"):
        try:
            importlib.import_module(part.name)
        except BackendError as error:
            print(part.name, error)
""")
    named = dict(line.split(maxsplit=1) for line in printed.splitlines())
    assert {name for name in named if not name.startswith("nasedu.deploy")} == {
        f"nasedu.course.{part}" for part in ("build", "progress", "run")
    }
    for name, sentence in named.items():
        extra = "deploy" if name.startswith("nasedu.deploy") else "course"
        assert re.fullmatch(rf'\w+ is not installed here: pip install "nasedu\[{extra}\]"', sentence)


@pytest.mark.parametrize(
    ("arguments", "blocked", "sentence"),
    [
        (["run", "07"], (), "they come with the project's source"),
        (["run", "07"], EXTRAS, 'pip install "nasedu[course]"'),
        (["kit", "--space", "fbnet", "--out", "kit"], EXTRAS, 'pip install "nasedu[deploy]"'),
    ],
)
def test_the_command_line_says_what_is_missing(alone, arguments, blocked, sentence):
    program = f"from nasedu.__main__ import main\nsys.stderr = sys.stdout\nprint(main({arguments!r}))"
    *lines, status = alone(program, blocked).splitlines()
    assert (len(lines), status) == (1, "2")
    assert sentence in lines[0]
