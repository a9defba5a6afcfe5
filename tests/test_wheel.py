"""The package as a person gets it who has only the wheel: no checkout, an empty folder, no extras."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "lookup/README.md", "datasets/README.md")
SNIPPETS = {
    f"{name} {number}": text
    for name in READMES
    for number, text in enumerate(re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text(), re.M | re.S), 1)
}
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


SHORTER = {  # what takes a minute, by what takes seconds
    "lookup/README.md 1": [("yolo:course", "nasbench201:course"), ("space, 20)", "space, 10)")],
    "datasets/README.md 2": [('detection("digits", split)', 'detection("digits", split, size=2)')],
}
ANNOTATION = """<annotation><object><name>dog</name>
<bndbox><xmin>3</xmin><ymin>3</ymin><xmax>30</xmax><ymax>30</ymax></bndbox></object></annotation>"""


@pytest.fixture
def linked(tmp_path):
    """The folders that datasets/README.md says to link, with one picture each."""
    voc, coco = tmp_path / "datasets/VOCdevkit/VOC2007", tmp_path / "datasets/coco"
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (voc / folder).mkdir(parents=True)
    for folder in ("annotations", "train2017", "val2017"):
        (coco / folder).mkdir(parents=True)
    for folder in (voc / "JPEGImages", coco / "train2017", coco / "val2017"):
        Image.new("RGB", (40, 40)).save(folder / "a.jpg")
    (voc / "Annotations/a.xml").write_text(ANNOTATION)
    for split, stems in {"train": "", "test": "a\n"}.items():
        (voc / f"ImageSets/Main/{split}.txt").write_text(stems)
    truth = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 40}],
        "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 18, "bbox": [3, 3, 20, 20], "iscrowd": 0, "area": 400}],
    }
    for split in ("train", "val"):
        (coco / f"annotations/instances_{split}2017.json").write_text(json.dumps(truth))


@pytest.mark.usefixtures("linked")
@pytest.mark.parametrize("name", SNIPPETS)
def test_every_python_snippet_runs_alone(alone, name):
    snippet = SNIPPETS[name]
    for long, short in SHORTER.get(name, []):
        assert long in snippet
        snippet = snippet.replace(long, short)
    assert alone(snippet) or "print" not in snippet


def test_every_readme_has_snippets():
    assert {name.split()[0] for name in SNIPPETS} == set(READMES)


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
    commands = {f"nasedu.commands.{part}" for part in ("course", "devices", "ranking")}
    assert {name for name in named if not name.startswith("nasedu.deploy")} - commands == {
        f"nasedu.course.{part}"
        for part in (
            "build",
            "grading",
            "outputs",
            "pages.markdown",
            "pages.notebook",
            "pages.site",
            "progress",
            "run",
        )
    }
    for name, sentence in named.items():
        extra = "course" if "course" in name else "deploy"
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
