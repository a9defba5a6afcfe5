import ast
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
TOP = {
    *("README.md", "LICENSE", "CITATION.cff", "Makefile", ".ci", ".gitignore"),
    *("pyproject.toml", "constraints.txt", "environment.yml"),
    *("nasedu", "notebooks", "tests", "datasets", "lookup"),
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NEEDED = {canonicalize_name(r.name): r for r in map(Requirement, PROJECT["dependencies"])}
PINS = [line for line in (ROOT / "constraints.txt").read_text().split("\n") if line and line[0] != "#"]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = re.search(r"^\.PHONY: (.*)", MAKEFILE, re.M)[1].split()


def test_every_dependency_is_pinned_within_its_bounds():
    pins = dict(line.split("==") for line in PINS)
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in PINS), "name==version only"
    for name, requirement in NEEDED.items():
        assert name in pins, f"{name} is not pinned in constraints.txt"
        assert requirement.specifier.contains(pins[name]), f"{requirement} does not allow {pins[name]}"


def test_torch_and_torchvision_are_a_pair():
    pins = dict(line.split("==") for line in PINS)
    # torchvision 0.(n + 15) is built against torch 2.n, with the same patch release or a later one
    assert int(pins["torchvision"].split(".")[1]) == int(pins["torch"].split(".")[1]) + 15
    assert str(NEEDED["torch"].specifier) == ">=2.11"
    assert str(NEEDED["torchvision"].specifier) == ">=0.26"


def test_conda_users_get_the_same_packages():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    python = SpecifierSet(next(d for d in conda if str(d).startswith("python")).removeprefix("python"))
    assert conda[-1] == {"pip": ["-c constraints.txt", "-e ."]}
    for version in ("3.11", "3.12", "3.13"):
        assert python.contains(version)
        assert SpecifierSet(PROJECT["requires-python"]).contains(version)
        assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]
    assert not python.contains("3.10")


def test_everything_the_package_imports_is_a_dependency():
    distributions = packages_distributions()
    optional = {"faster_coco_eval"}
    for path in ROOT.glob("nasedu/**/*.py"):
        for name in imported(path) - optional - set(sys.stdlib_module_names) - {"nasedu"}:
            owners = {canonicalize_name(d) for d in distributions.get(name, [name])}
            assert owners & NEEDED.keys(), f"{path.name} imports {name}, which pyproject.toml does not name"


def imported(path):
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {name.split(".")[0] for name in [*plain, *(n.module for n in nodes if isinstance(n, ast.ImportFrom))]}


def test_the_top_level_is_the_fixed_one():
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert {name.split("/")[0] for name in listed.stdout.split("\n") if name} == TOP


def test_help_lists_every_target():
    shown = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(TARGETS) == {"help", "run", "test", "lab", "notebooks", "course", "bench"}
    for target in TARGETS:
        assert re.search(rf"^  make {target} +\w", shown, re.M), f"{target} is not in make help"


def test_what_the_readme_names_exists():
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("there is no README.md yet")
    text = readme.read_text()
    for link in re.findall(r"\]\(([^)#\s]+)", text):
        assert "://" in link or (ROOT / link).exists(), f"README links to {link}"
    for target in re.findall(r"`make ([a-z]+)", text):
        assert target in TARGETS, f"README names make {target}"
    for command in re.findall(r"python -m nasedu ([\w-]+)", text):
        assert command in ("run", "build", "kit", "import-kit"), f"README names nasedu {command}"


FAKE = """#!/bin/sh
echo "$@" >> calls
case "$*" in
  "-m venv --clear .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
  "-m pip"*) test ! -e offline ;;
esac
"""


@pytest.fixture
def clone(tmp_path):
    """A checkout with a Python that only writes down what it was asked to do."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "python").write_text(FAKE)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def make(clone, *arguments):
    done = subprocess.run(["make", *arguments], cwd=clone, capture_output=True, text=True)
    calls = clone / "calls"
    called = calls.read_text().split("\n") if calls.exists() else []
    calls.unlink(missing_ok=True)
    return done, called


def test_the_environment_is_made_once_and_again_when_its_files_change(clone):
    done, called = make(clone, "run", "PYTHON=./python")
    assert done.returncode == 0
    assert "-m venv --clear .venv" in called
    assert "-m pip install --quiet -c constraints.txt -e ." in called
    assert called[-2] == "-m nasedu run 14_wzdnas"
    assert make(clone, "run", "PYTHON=./python")[1] == ["-m nasedu run 14_wzdnas", ""]
    (clone / "constraints.txt").touch()
    called = make(clone, "run", "PYTHON=./python")[1]
    assert "-m pip install --quiet -c constraints.txt -e ." in called
    assert "-m venv --clear .venv" not in called


def test_a_half_made_environment_is_made_afresh(clone):
    (clone / "offline").touch()
    assert make(clone, "run", "PYTHON=./python")[0].returncode != 0
    (clone / "offline").unlink()
    done, called = make(clone, "run", "PYTHON=./python")
    assert done.returncode == 0
    assert "-m venv --clear .venv" in called


def test_an_old_python_is_refused_in_one_sentence(clone):
    done, _ = make(clone, "test", "PYTHON=false")
    assert done.returncode != 0
    assert "nasedu needs Python 3.11 or newer" in done.stderr
    assert not (clone / ".venv").exists()
