import ast
import io
import re
import shutil
import subprocess
import sys
import tokenize
import tomllib
from graphlib import TopologicalSorter
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import nasedu
from nasedu.__main__ import main

ROOT = Path(__file__).parents[1]
TOP = {
    *("README.md", "CHANGELOG.md", "LICENSE", "CITATION.cff", "Makefile", ".ci", ".gitignore"),
    *("pyproject.toml", "constraints.txt", "environment.yml"),
    *("nasedu", "notebooks", "tests", "datasets", "lookup"),
}
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
LISTED = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
NEEDED = {canonicalize_name(r.name): r for r in map(Requirement, LISTED)}
INSTALLED = f".[{','.join(EXTRAS)}]"
PINS = [line for line in (ROOT / "constraints.txt").read_text().split("\n") if line and line[0] != "#"]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = re.search(r"^\.PHONY: (.*)", MAKEFILE, re.M)[1].split()


def test_every_dependency_is_pinned_within_its_bounds():
    pins = dict(line.split("==") for line in PINS)
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in PINS), "name==version only"
    for name, requirement in NEEDED.items():
        assert name in pins, f"{name} is not pinned in constraints.txt"
        assert requirement.specifier.contains(pins[name]), f"{requirement} does not allow {pins[name]}"


def test_what_is_pinned_installs_on_the_first_release_of_every_python():
    """A distribution's own Python may be 3.11.2 for years: a pin that asks for 3.11.5 leaves it out."""
    seen = 0
    for name, version in (line.split("==") for line in PINS):
        try:
            described = metadata(name)
        except PackageNotFoundError:  # one that only another platform installs
            continue
        wanted = SpecifierSet(described.get("Requires-Python") or "")
        seen += described["Version"] == version
        if described["Version"] == version:
            refused = [python for python in ("3.11.0", "3.12.0", "3.13.0") if not wanted.contains(python)]
            assert not refused, f"{name}=={version} refuses Python {refused}: it asks for {wanted}"
    assert seen > len(PINS) / 2


def test_torch_and_torchvision_are_a_pair():
    pins = dict(line.split("==") for line in PINS)
    # torchvision 0.(n + 15) is built against torch 2.n, with the same patch release or a later one
    assert int(pins["torchvision"].split(".")[1]) == int(pins["torch"].split(".")[1]) + 15
    assert str(NEEDED["torch"].specifier) == ">=2.11"
    assert str(NEEDED["torchvision"].specifier) == ">=0.26"


def test_conda_users_get_the_same_packages():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    python = SpecifierSet(next(d for d in conda if str(d).startswith("python")).removeprefix("python"))
    assert conda[-1] == {"pip": ["-c constraints.txt", f"-e {INSTALLED}"]}
    for version in ("3.11", "3.12", "3.13"):
        assert python.contains(version)
        assert SpecifierSet(PROJECT["requires-python"]).contains(version)
        assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]
    assert not python.contains("3.10")


def test_everything_the_package_imports_is_a_dependency():
    distributions = packages_distributions()
    for path in ROOT.glob("nasedu/**/*.py"):
        for name in imported(path) - set(sys.stdlib_module_names) - {"nasedu"}:
            owners = {canonicalize_name(d) for d in distributions.get(name, [name])}
            assert owners & NEEDED.keys(), f"{path.name} imports {name}, which pyproject.toml does not name"


def imported(path):
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {name.split(".")[0] for name in [*plain, *(n.module for n in nodes if isinstance(n, ast.ImportFrom))]}


def test_every_dependency_is_used():
    """By an import or, where a program is started or a plug-in found, by its name in these files."""
    distributions = {}
    for module, owners in packages_distributions().items():
        for owner in owners:
            distributions.setdefault(canonicalize_name(owner), set()).add(module)
    used = set().union(
        *map(
            imported,
            (path for name in ("nasedu", "tests", "notebooks/source") for path in ROOT.glob(f"{name}/**/*.py")),
        )
    )
    used |= {"faster_coco_eval", "playwright"}  # by their names in strings
    elsewhere = {
        "distributed",
        "ipykernel",
        "jupyterlab",
        "mypy",
        "nbval",
        "pnnx",
        "pytest-timeout",
        "pytest-xdist",
        "ruff",
        "setuptools",
        "wheel",
    }
    for name in NEEDED.keys() - elsewhere:
        assert name.startswith("types-") or distributions[name] & used, f"nothing imports {name}"


CODE_LINES, FUNCTION_LINES, PARAMETERS = 23_200, 45, 8  # the most of the package, of a function, of a public one
CHECK_LINES = 30  # the most for an exercise, on average: the checkers are a part of the course and are counted apart
PICTURE_LINES = 1_540  # of what is only seen, plots and widgets together
DAY_FILES, DAY_LINES = range(20, 31), 3_500  # what the README's day with the package may take
PACKAGE = sorted(ROOT.glob("nasedu/**/*.py"))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def code_lines(path):
    """The lines of a file that hold code: no blanks, comments or docstrings."""
    text = path.read_text()
    places = (ast.Module, ast.ClassDef, *FUNCTIONS)
    firsts = [node.body[0] for node in ast.walk(ast.parse(text)) if isinstance(node, places) and node.body]
    docs = [f for f in firsts if isinstance(f, ast.Expr) and isinstance(getattr(f.value, "value", None), str)]
    skipped = {line for doc in docs for line in range(doc.lineno, doc.end_lineno + 1)}
    no_code = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in no_code]
    return len({line for token in tokens for line in range(token.start[0], token.end[0] + 1)} - skipped)


def functions(path):
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, FUNCTIONS)]


def test_the_package_stays_small():
    checks = sorted(ROOT.glob("nasedu/course/checks/[a-z]*.py"))
    assert sum(map(code_lines, set(PACKAGE) - set(checks))) <= CODE_LINES
    exercises = sum(path.read_text().count("\n@exercise(") for path in checks)
    assert sum(map(code_lines, checks)) <= CHECK_LINES * exercises
    pictures = [path for path in PACKAGE if path.relative_to(ROOT).parts[1] in ("plots", "widgets")]
    assert sum(map(code_lines, pictures)) <= PICTURE_LINES


def test_functions_are_short_and_public_ones_take_few_parameters():
    for path in PACKAGE:
        for node in functions(path):
            where = f"{path.relative_to(ROOT)}: {node.name}"
            assert node.end_lineno - node.lineno < FUNCTION_LINES, f"{where} is too long"
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            taken = [argument for argument in given if argument.arg not in ("self", "cls")]
            assert node.name[0] == "_" or len(taken) <= PARAMETERS, f"{where} has {len(taken)} parameters"


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(tree, module, modules):
    """The modules of the package that a piece of `module` imports; `from nasedu import spaces` names nasedu.spaces."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else node.module for name in named}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & modules) - {module}


def test_no_circle_of_imports_not_even_a_hidden_one():
    """Imports for types and within functions count as well."""
    modules = {module_name(path): path for path in PACKAGE}
    graph = {name: imports(ast.parse(path.read_text()), name, modules.keys()) for name, path in modules.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_nothing_of_the_package_is_imported_within_a_function():
    modules = {module_name(path) for path in PACKAGE}
    for path in PACKAGE:
        for node in functions(path):
            hidden = imports(node, "", modules)
            assert not hidden, f"{path.relative_to(ROOT)}: {node.name} imports {', '.join(sorted(hidden))}"


NO_STREAM = {  # what may seed a generator itself
    "randomness.py",
    "data/crop.py",  # from a stream's seeds, one for each image
    "data/digits.py",  # its pixels are the same for ever, so its generator is written out
    "deploy/kit/run_kit.py",  # knows NumPy alone
    "proxies/counts.py",  # a network's own number
    "proxies/probe.py",  # from a stream's seed
    "proxies/regions.py",  # keys of a hash, the same for every network
    "course/setup.py",  # the notebook's global state
}


def test_draws_come_from_named_streams():
    files = [
        path
        for path in (ROOT / "nasedu").rglob("*.py")
        if path.relative_to(ROOT / "nasedu").parts[0] not in ("widgets", "plots")
    ]
    files = [path for path in files if path.relative_to(ROOT / "nasedu").parts[:2] != ("course", "checks")]
    own = {
        path.relative_to(ROOT / "nasedu").as_posix()
        for path in files
        if re.search(r"default_rng|manual_seed", path.read_text())
    }
    assert own <= NO_STREAM


def test_the_package_in_a_day_is_true():
    readme = (ROOT / "README.md").read_text()
    section = readme.split("### The package in a day", 1)[1].split("\n### ", 1)[0]
    files = [ROOT / "nasedu" / name for name in re.findall(r"`([a-z0-9_/]+\.py)`", section)]
    assert len(set(files)) == len(files)
    assert len(files) in DAY_FILES
    assert sum(map(code_lines, files)) < DAY_LINES


def test_the_top_level_is_the_fixed_one():
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert {name.split("/")[0] for name in listed.stdout.split("\n") if name} == TOP


def test_help_lists_every_target():
    shown = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(TARGETS) == {"help", "run", "test", "lab", "site", "notebooks", "course", "bench"}
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
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0, f"README names nasedu {command}"


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


def test_every_package_folder_is_in_the_wheel():
    packages = {str(path.parent.relative_to(ROOT)).replace("/", ".") for path in ROOT.glob("nasedu/**/*.py")}
    listed = PYPROJECT["tool"]["setuptools"]["packages"]
    assert set(listed) == packages | {"nasedu.datasets", "nasedu.lookup"}


def test_the_version_stands_in_one_place_and_is_the_one_to_cite():
    assert (
        "version" not in PROJECT
        and PYPROJECT["tool"]["setuptools"]["dynamic"]["version"]["attr"] == "nasedu.__version__"
    )
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == nasedu.__version__


def test_modules_held_to_mypy_are_held_to_all_of_it_and_exist():
    types = PYPROJECT["tool"]["mypy"]
    (held,) = types["overrides"]
    assert held["enable_error_code"] == types["disable_error_code"]
    assert {name.removesuffix(".*") for name in held["module"]} <= set(map(module_name, PACKAGE))


def test_the_environment_is_made_once_and_again_when_its_files_change(clone):
    done, called = make(clone, "run", "PYTHON=./python")
    assert done.returncode == 0
    assert "-m venv --clear .venv" in called
    assert f"-m pip install --quiet -c constraints.txt -e {INSTALLED}" in called
    assert called[-2] == "-m nasedu run 14_wzdnas"
    assert make(clone, "run", "PYTHON=./python")[1] == ["-m nasedu run 14_wzdnas", ""]
    (clone / "constraints.txt").touch()
    called = make(clone, "run", "PYTHON=./python")[1]
    assert f"-m pip install --quiet -c constraints.txt -e {INSTALLED}" in called
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
