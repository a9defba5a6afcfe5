import ast
import contextlib
import gzip
import io
import itertools
import json
import math
import os
import re
import shutil
import subprocess
import sys
import types
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from packaging.requirements import Requirement
from torch import nn

from nasedu import __main__ as cli
from nasedu import spaces
from nasedu.blocks import Add, Classifier, ConvBN, Zero
from nasedu.deploy import kit as kits
from nasedu.deploy.kit import energy_kit, estimate_kit, import_kit, run_kit, write
from nasedu.deploy.kit.read import spoken
from nasedu.errors import KitError, ParameterError
from nasedu.hardware import latency
from nasedu.progress import silent
from nasedu.spaces.base import Layer, SearchSpace, choice
from nasedu.tables import LookupTable
from nasedu.tables.pieces import make_up, pieces

RUNNER = Path(run_kit.__file__)
CALL_MS = 0.25  # what a call takes in results that are made up


class TinySpace(SearchSpace):
    """Two places that are decided together and one of its own: equal blocks, free ones and one to sum with another."""

    name = "tiny"

    def __init__(self, *, width: int = 4):
        self.input_shape = (3, 4, 4)
        operations = {"conv": partial(ConvBN, width, width, 1), "skip": nn.Identity, "none": Zero}
        self.layers = [
            Layer("stem", partial(ConvBN, 3, width, 3)),
            choice("first", operations, "shared", ("stem",)),
            choice("second", operations, "shared", ("stem",)),
            choice("third", dict(list(operations.items())[:2]), inputs=("second",)),
            Layer("add", Add, ("stem", "first", "third")),
            Layer("classify", partial(Classifier, width, 2)),
        ]


@pytest.fixture(scope="module", autouse=True)
def tiny():
    """`spaces.create("tiny")`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(spaces._EVERY, "tiny", TinySpace)
        yield


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
    """A real kit of the tiny space with two networks, made by the command line; not to be written to."""
    folder = tmp_path_factory.mktemp("kits") / "kit"
    told, bar = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(bar):
        assert (
            cli.main(
                [
                    "kit",
                    "--space",
                    "tiny",
                    "--networks",
                    "2",
                    "--spares",
                    "0",
                    "--int8",
                    "--workers",
                    "1",
                    "--out",
                    str(folder),
                ]
            )
            == 0
        )
    assert "With 2 whole networks there will be no corrected table: that takes 10 or more" in told.getvalue()
    assert re.search(r"exporting tiny: 100%.* (\d+)/\1 ", bar.getvalue())
    return folder


def write_kit(space, out, *, workers=1, progress=silent, **settings):
    return kits.write_kit(space, out, kits.KitConfig(**settings), workers=workers, progress=progress)


@pytest.fixture
def kit(exported, tmp_path):
    return Path(shutil.copytree(exported, tmp_path / "kit"))


@pytest.fixture
def quick(monkeypatch):
    """Exports that take no time: an empty graph for identities, else one operator. Returns what was exported."""
    made = []

    def model(module, *shapes, batch=1, opset=None):
        made.append(module)
        x = helper.make_tensor_value_info("x0", TensorProto.FLOAT, [batch, *shapes[0]])
        kind = "Identity" if isinstance(module, nn.Identity | Zero) else "Relu"
        return helper.make_model(helper.make_graph([helper.make_node(kind, ["x0"], ["y0"])], "g", [x], []))

    monkeypatch.setattr(write, "onnx_model", model)
    return made


def run(kit, *options):
    return run_kit.main(["--kit", str(kit), "--repeats", "3", "--warmup", "1", *options])


def results(kit, manifest, seconds=lambda entry: 1.0):
    """Results as the runner writes them, with a time in ms for every entry."""
    args = run_kit.parser().parse_args([])
    header = run_kit.describe(
        manifest["id"], args, types.SimpleNamespace(name="onnxruntime", version="1", provider="x")
    )
    lines = [header]  # not sealed as yet: `write_results` does that
    for entry in manifest["entries"]:
        if entry["file"]:
            ms = CALL_MS if entry["kind"] == "call" else seconds(entry)
            ran = {"began": len(lines), "ended": len(lines) + 1, "calls": 100}
            lines.append({"id": entry["id"], "median_ms": ms, "low_ms": ms, "high_ms": ms, "noisy": False} | ran)
    write_results(kit, lines)
    return lines


def write_results(kit, lines):
    sealed = [run_kit.sealed(line) if isinstance(line, dict) else line for line in lines]
    Path(kit, "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in sealed))


def read_lines(kit):
    return [json.loads(line) for line in (kit / "results.jsonl").read_text().splitlines()]


# the whole way


def test_the_whole_way(kit, capsys):
    manifest = json.loads((kit / "manifest.json").read_text())
    ids = {entry["id"] for entry in manifest["entries"] if entry["file"] and not entry.get("spare")}
    assert ids == {"empty call", "stem", "first conv", "add", "classify", "network 00", "network 01"}
    assert run(kit) == 0
    assert "All 7 are measured" in capsys.readouterr().out
    lines = {line["id"]: line for line in read_lines(kit)[1:]}
    assert lines.keys() == ids
    assert all(0 < line["low_ms"] <= line["median_ms"] <= line["high_ms"] for line in lines.values())

    assert cli.main(["import-kit", str(kit)]) == 0
    out = capsys.readouterr().out
    assert "R² =" in out and "n = 2" in out and "no corrected table" in out
    table = LookupTable.load(kit / "latency_ms.json", spaces.create("tiny"))
    call = lines["empty call"]["median_ms"]
    ms = {name: max(line["median_ms"] - call, 0) for name, line in lines.items()}
    assert table.fixed == pytest.approx(call + ms["stem"] + ms["add"] + ms["classify"], abs=2e-6)
    # both shared places run the convolution; identities and zeros run nothing in a network
    assert table.entries[0].tolist() == pytest.approx([2 * ms["first conv"], 0, 0], abs=2e-6)
    assert table.entries[1].tolist() == pytest.approx([ms["first conv"], 0], abs=2e-6)
    header = read_lines(kit)[0]
    recorded = ("device", "version", "python", "threads", "repeats", "warmup", "provider", "date", "timer_ms")
    assert {name: table.provenance[name] for name in recorded} == {name: header[name] for name in recorded}
    assert table.provenance["kit"] == manifest["id"] and table.provenance["batch"] == 1


def test_the_runner_needs_numpy_and_onnxruntime_alone(kit, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    packages = next((tmp_path / "venv").glob("lib/*/site-packages"))
    for name in needed("numpy") | needed("onnxruntime"):
        for top in {file.parts[0] for file in metadata.files(name)} - {"..", "__pycache__"}:
            (packages / top).symlink_to(metadata.distribution(name).locate_file(top))
    for name in ("torch", "nasedu", "onnx", "yaml"):
        found = subprocess.run([python, "-I", "-c", f"import {name}"], capture_output=True, text=True)
        assert f"No module named '{name}'" in found.stderr
    command = [python, "-I", "run_kit.py", "--repeats", "3"]
    done = subprocess.run(command, cwd=kit, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert (done.returncode, done.stderr) == (0, "")
    assert import_kit(kit).table.provenance["repeats"] == 3


def needed(name):
    """A distribution and all that it requires."""
    requirements = [Requirement(text) for text in metadata.requires(name) or []]
    wanted = [r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    return {name}.union(*map(needed, wanted))


def test_the_runner_is_one_file_for_python_3_9():
    source = RUNNER.read_text()
    tree = ast.parse(source, feature_version=(3, 9))
    names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) == {
        "ncnn",
        "numpy",
        "onnxruntime",
        "openvino",
    }
    assert "strict=" not in source and "match " not in source


# writing


def test_equal_pieces_are_exported_once_and_their_slots_add_up(quick, tmp_path):
    space = spaces.create("nasbench201:course")
    made = write_kit(space, tmp_path / "kit", networks=0)
    listed = {piece["name"]: piece["entry"] for piece in made["pieces"]}
    assert len(listed) == len(list(pieces(space))) == 204
    # 5 operations and sums of 1, 2 and 3 edges in each of 3 stages, 2 reductions, the stem and 3 layers at the end
    assert len(made["entries"]) - 1 == len(quick) == 3 * (5 + 3) + 2 + 4
    assert listed["cell1_2_1to3 nor_conv_3x3"] == listed["cell1_1_0to1 nor_conv_3x3"]
    assert listed["cell2_1_0to1 nor_conv_3x3"] != listed["cell1_1_0to1 nor_conv_3x3"]
    assert listed["cell1_1_node2"] != listed["cell1_1_node3"]


class Scaled(nn.Module):
    def __init__(self, times, function=nn.functional.relu):
        super().__init__()
        self.times, self.function = times, function


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (lambda: nn.AvgPool2d(3, 1), lambda: nn.AvgPool2d(3, 2)),
        (lambda: nn.Conv2d(4, 4, 3), lambda: nn.Conv2d(4, 4, 3, dilation=2)),
        (lambda: nn.Conv2d(4, 4, 3), lambda: nn.Conv2d(4, 4, 3, bias=False)),
        (lambda: Scaled(2), lambda: Scaled(3)),
        (lambda: Scaled(2), lambda: Scaled(2, nn.functional.silu)),
        (lambda: nn.Sequential(nn.ReLU(), nn.SiLU()), lambda: nn.Sequential(nn.SiLU(), nn.ReLU())),
    ],
)
def test_what_tells_two_pieces_apart(a, b):
    shapes = ((4, 8, 8),)
    assert make_up(a(), shapes) == make_up(a(), shapes) is not None
    assert make_up(a(), shapes) != make_up(b(), shapes)
    assert make_up(a(), shapes) != make_up(a(), ((4, 4, 4),))


def test_a_killed_export_goes_on(quick, tmp_path, monkeypatch):
    space, whole = spaces.create("tiny"), write_kit(spaces.create("tiny"), tmp_path / "whole", networks=3, spares=0)
    total, heard = len(quick), []
    model = write.onnx_model
    kill = iter([False] * 4 + [True])

    def killed(*args, **options):
        if next(kill):
            raise KeyboardInterrupt
        return model(*args, **options)

    monkeypatch.setattr(write, "onnx_model", killed)
    with pytest.raises(KeyboardInterrupt):
        write_kit(space, tmp_path / "kit", networks=3, spares=0)
    assert not (tmp_path / "kit" / "manifest.json").exists()
    monkeypatch.setattr(write, "onnx_model", model)
    quick.clear()
    again = write_kit(space, tmp_path / "kit", networks=3, spares=0, progress=lambda *said: heard.append(said))
    assert again["id"] == whole["id"]
    assert len(quick) == total - 4  # those before the kill
    assert heard == [(done, total + 1) for done in range(5, total + 2)]  # the empty call is a file, too
    assert not (tmp_path / "kit" / "manifest.part.json").exists()
    quick.clear()
    damaged = tmp_path / "kit" / "blocks" / "000.onnx.gz"
    damaged.write_bytes(damaged.read_bytes()[:-3])
    assert write_kit(space, tmp_path / "kit", networks=3, spares=0)["id"] == whole["id"]
    assert len(quick) == 1


@pytest.mark.parametrize("finished", [True, False])
def test_an_export_does_not_go_on_with_a_manifest_that_was_changed(quick, tmp_path, finished):
    """One bit of an architecture: its network would stand beside a latency of another one."""
    space, kit = spaces.create("tiny"), tmp_path / "kit"
    whole = write_kit(space, kit, networks=3, spares=0)
    path = kit / ("manifest.json" if finished else "manifest.part.json")
    (kit / "manifest.json").rename(path)

    def changed(sign):
        """With the first decision of the first network another one; `sign`: its id made to fit."""
        held = json.loads(json.dumps(whole))
        entry = next(entry for entry in held["entries"] if entry["kind"] == "network")
        entry["arch"][0] ^= 1
        path.write_text(json.dumps(held | {"id": write.manifest_id(held)} if sign else held))

    changed(sign=False)
    with pytest.raises(KitError, match=rf"{path.name} was changed after it was written"):
        write_kit(space, kit, networks=3, spares=0)
    quick.clear()
    changed(sign=True)
    assert write_kit(space, kit, networks=3, spares=0) == whole and len(quick) == 1, "that network alone is made again"


@pytest.mark.usefixtures("quick")
def test_an_export_killed_at_its_very_start_goes_on(tmp_path, monkeypatch):
    write_whole = write.write_atomically

    def killed(path, content):
        write_whole(path, content)
        raise KeyboardInterrupt

    monkeypatch.setattr(write, "write_atomically", killed)
    with pytest.raises(KeyboardInterrupt):
        write_kit(spaces.create("tiny"), tmp_path / "kit", networks=0)
    monkeypatch.setattr(write, "write_atomically", write_whole)
    assert write_kit(spaces.create("tiny"), tmp_path / "kit", networks=0)["entries"]


def test_a_process_that_dies_is_one_sentence(tmp_path, monkeypatch, capsys):
    class Pool:
        def __init__(self, *_):
            pass

        def map(self, *_):
            raise BrokenProcessPool("a child process terminated abruptly")
            yield

        def __enter__(self):
            return self

        def shutdown(self, *_, **__):
            pass

        __exit__ = shutdown

    monkeypatch.setattr(write, "JOBS_PER_WORKER", 1)
    monkeypatch.setattr(write, "ProcessPoolExecutor", Pool)
    command = ["kit", "--space", "tiny", "--networks", "0", "--workers", "2", "--out", str(tmp_path / "kit")]
    assert cli.main(command) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "an export process was killed" in error and "--workers 1 goes on" in error


def test_networks_differ_and_depend_on_the_seed(quick, tmp_path):
    def archs(name, **options):
        made = write_kit(spaces.create("tiny"), tmp_path / name, spares=0, **options)
        return [tuple(entry["arch"]) for entry in made["entries"] if entry["kind"] == "network"]

    assert len(set(archs("all", networks=6))) == 6
    assert archs("a", networks=3) == archs("b", networks=3) != archs("c", networks=3, seed=1)


def test_networks_that_are_constant_are_passed_over():
    operations = ["none", "skip_connect"]
    space = spaces.create("nasbench201", operations=operations, width=0.125, depth=0.2, input_size=8)

    def connected(arch):
        edges = dict(zip([(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)], arch, strict=True))
        reached = {0}
        for node in (1, 2, 3):
            reached |= {node} if any(edges[node, source] for source in reached) else set()
        return 3 in reached

    alive = {arch for arch in itertools.product((0, 1), repeat=6) if connected(arch)}
    found = write.living_networks(space, len(alive), 0)
    assert set(found) == alive and len(found) == len(alive) < 64
    assert found[:5] == write.living_networks(space, 5, 0)
    with pytest.raises(ParameterError, match=f"only {len(alive)} of nasbench201 depend"):
        write.living_networks(space, len(alive) + 1, 0)


def test_batches_and_options_reach_the_files(quick, tmp_path):
    made = write_kit(spaces.create("tiny", width=8), tmp_path / "kit", networks=0, batch=4)
    stem = gzip.decompress((tmp_path / "kit" / made["entries"][1]["file"]).read_bytes())
    assert [d.dim_value for d in onnx.load_from_string(stem).graph.input[0].type.tensor_type.shape.dim] == [4, 3, 4, 4]
    assert made["space"] == {"name": "tiny", "options": {"width": 8}} and made["batch"] == 4


def test_processes_make_the_same_kit(tmp_path, monkeypatch):
    """With a pool's place taken by one that runs here: what each job gives does not depend on who does it."""
    monkeypatch.setattr(write, "JOBS_PER_WORKER", 1)
    started = []

    class Pool:
        def __init__(self, workers, context, start, settings):
            started.append(workers)
            self.exporter = write.Exporter(*settings)

        def map(self, work, jobs):
            return map(self.exporter, jobs)

        def __enter__(self):
            return self

        __exit__ = shutdown = lambda *_, **__: None

    monkeypatch.setattr(write, "onnx_model", lambda *_, **__: onnx.ModelProto(producer_name="x"))
    alone = write_kit(spaces.create("tiny"), tmp_path / "alone", networks=1, spares=0)
    monkeypatch.setattr(write, "ProcessPoolExecutor", Pool)
    assert write_kit(spaces.create("tiny"), tmp_path / "beside", networks=1, spares=0, workers=2) == alone
    assert started == [2]


def test_repeated_weights_keep_their_shape_and_scale():
    values = np.random.default_rng(0).normal(size=(64, 50)).astype(np.float32)
    small, whole = np.arange(5, dtype=np.float32), np.arange(2000)
    named = {"large": values, "small": small, "whole": whole}
    weights = [onnx.numpy_helper.from_array(v, k) for k, v in named.items()]
    model = helper.make_model(helper.make_graph([], "g", [], [], weights))
    write.repeat_weights(model)
    got = {w.name: onnx.numpy_helper.to_array(w) for w in model.graph.initializer}
    assert got["large"].shape == values.shape and got["large"].std() == pytest.approx(values.std(), rel=0.1)
    assert (got["large"].ravel()[:1024] == values.ravel()[:1024]).all()
    assert (got["large"].ravel()[1024:2048] == values.ravel()[:1024]).all()
    assert (got["small"] == small).all() and (got["whole"] == whole).all()
    assert len(gzip.compress(model.graph.initializer[0].raw_data)) < 0.4 * values.nbytes


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--space", "plainnet"], "no table can be made"),
        (["--space", "tinny"], "did you mean 'tiny'"),
        (["--space", "tiny", "-p", "widht=8"], "did you mean 'width'"),
        (["--space", "tiny", "-p", "width"], "expected name=value"),
        (["--space", "tiny", "-p", "width=[1"], "cannot be read"),
        (["--space", "nasbench201", "-p", "width=wide"], "width must be a number above 0"),
        (["--space", "yolo:course", "-p", "num_classes=abc"], "num_classes must be a whole number from 1"),
        (["--space", "tiny", "--seed", "-1"], "seed must be a whole number from 0"),
        (["--space", "tiny", "--workers", "0"], "workers must be a whole number from 1 to 1024, got 0"),
        (["--space", "tiny", "--workers", "-5"], "whole number from 1 to 1024, got -5"),
        (["--space", "tiny", "--batch", "0"], "batch must be a whole number from 1"),
        (["--space", "tiny", "--networks", "7"], "6 networks, 7 different ones"),
    ],
)
def test_a_mistake_is_one_sentence_and_makes_no_folder(arguments, sentence, tmp_path, capsys):
    assert cli.main(["kit", *arguments, "--out", str(tmp_path / "kit")]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not (tmp_path / "kit").exists()


def test_folders_that_hold_something_else(kit, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    for folder, option, sentence in [
        (tmp_path / "mine", "0", "holds other files"),
        (tmp_path / "mine" / "thesis.tex", "0", "is a file"),
        (kit, "1", "a kit of another space or with other settings"),
    ]:
        before = sorted(folder.rglob("*"))
        assert cli.main(["kit", "--space", "tiny", "--networks", "2", "--seed", option, "--out", str(folder)]) == 2
        error = capsys.readouterr().err
        assert sentence in error and error.count("\n") == 1
        assert sorted(folder.rglob("*")) == before


def test_a_space_that_nothing_can_recreate(tmp_path):
    with pytest.raises(ParameterError, match=r"must be made by spaces\.create"):
        write_kit(TinySpace(), tmp_path / "kit")


# measuring


class Clock:
    """Time that passes only while the session runs: `times` in ms, one a run."""

    def __init__(self, times, timer=0.0):
        self.now, self.times, self.timer = 0.0, iter(times), timer

    def run(self, feeds):
        self.now += next(self.times) / 1e3

    def measure(self, monkeypatch, **options):
        monkeypatch.setattr(run_kit, "load", lambda *_: (self.run, {}))
        clock = types.SimpleNamespace(perf_counter=lambda: self.now, time=lambda: 1e9 + self.now)
        monkeypatch.setattr(run_kit, "time", clock)
        args = types.SimpleNamespace(**{"warmup": 2, "repeats": 4, "seconds": 0} | options)
        return run_kit.measure(None, args, None, self.timer)


def test_a_block_is_measured_after_warming_up(monkeypatch):
    line = Clock([9, 2] + [1, 1.01, 1.02, 1.03]).measure(monkeypatch)
    assert line["median_ms"] == pytest.approx(1.015) and line["low_ms"] < line["median_ms"] < line["high_ms"]
    assert (line["attempts"], line["runs"], line["noisy"], line["repeats"]) == (1, 1, False, 4)
    assert Clock([1, 1] + [1, 3, 1, 3]).measure(monkeypatch)["noisy"]


def test_a_noisy_block_is_measured_again_later_and_the_calmest_is_kept(kit, monkeypatch, capsys):
    ids = {e["file"]: e["id"] for e in json.loads((kit / "manifest.json").read_text())["entries"]}
    spreads = {"stem": [0.5, 0.0], "add": [0.3, 0.2, 0.4]}
    visits = []

    def measured(path, *_):
        name = ids[path.relative_to(kit).as_posix()]
        visits.append(name)
        high = 1 + (spreads[name].pop(0) if name in spreads else 0)
        line = {"median_ms": float(len(visits)), "low_ms": 0.0, "high_ms": (high - 1) * len(visits)}
        return line | {"attempts": 1, "noisy": high > 1.1}

    monkeypatch.setattr(run_kit, "measure", measured)
    assert run(kit) == 0
    lines = {line["id"]: line for line in read_lines(kit)[1:]}
    first = visits[:7]
    assert set(first) == lines.keys() and sorted(visits[7:]) == ["add", "add", "stem"] and len(lines) == 7
    assert (lines["stem"]["attempts"], lines["stem"]["noisy"]) == (2, False)
    assert (lines["add"]["attempts"], lines["add"]["noisy"], lines["add"]["median_ms"]) == (
        3,
        True,
        7 + 1 + visits[7:].index("add"),
    )
    assert lines["classify"]["attempts"] == 1
    assert "1 of them noisy" in capsys.readouterr().out


def test_a_short_block_runs_several_times_in_a_row(monkeypatch):
    line = Clock([5, 0.03] + [0.03] * 28).measure(monkeypatch)
    assert line["runs"] == 7 and line["median_ms"] == pytest.approx(0.03)


def test_a_stopped_run_goes_on(kit, monkeypatch, capsys):
    measured = []

    def stopped(path, *_):
        if len(measured) == 3:
            raise KeyboardInterrupt
        measured.append(path.name)
        return {"median_ms": 1.0, "low_ms": 1.0, "high_ms": 1.0, "attempts": 3, "noisy": len(measured) == 1}

    monkeypatch.setattr(run_kit, "measure", stopped)
    assert run(kit) == 130
    assert "the same command goes on" in capsys.readouterr().err
    before = (kit / "results.jsonl").read_bytes()
    cut = before[: before.rfind(b'"median_ms"')]  # a power cut in the middle of the third line
    (kit / "results.jsonl").write_bytes(cut)
    measured.clear()
    assert run(kit) == 130
    measured.clear()
    assert run(kit) == 0
    assert "3 of them noisy" in capsys.readouterr().out  # the first of each of three sessions
    lines = read_lines(kit)
    assert (kit / "results.jsonl").read_bytes().startswith(before[: before[:-1].rfind(b"\n") + 1])
    assert len(lines) == 8 and len({line["id"] for line in lines[1:]}) == 7
    order = [line["id"] for line in lines[1:]]
    (kit / "results.jsonl").unlink()
    for _ in range(3):
        measured.clear()
        run(kit)
    assert [line["id"] for line in read_lines(kit)[1:]] == order
    assert order != [e["id"] for e in json.loads((kit / "manifest.json").read_text())["entries"] if e["file"]]


def test_what_the_runner_refuses(kit, capsys):
    manifest = json.loads((kit / "manifest.json").read_text())

    def refused(sentence, *options):
        assert run(kit, *options) == 2
        error = capsys.readouterr().err
        assert sentence in error and error.count("\n") == 1

    refused("available: ", "--provider", "CUDAExecutionProvder")
    header = run_kit.describe(
        manifest["id"], run_kit.parser().parse_args(["--warmup", "1"]), run_kit.load_runtime("onnxruntime")
    )
    write_results(kit, [header | {"kit": "0"}])
    refused("results of another kit")
    write_results(kit, [header])
    refused("measured otherwise (repeats 30, now 3)")
    write_results(kit, [header, []])
    refused("cannot be read")
    (kit / "results.jsonl").write_text(json.dumps(header) + "\n")
    refused("was changed after it was written")
    (kit / "results.jsonl").unlink()
    refused("No such file or directory", "--out", str(kit / "nodir" / "x.jsonl"))
    refused("directory", "--out", str(kit))
    block = kit / manifest["entries"][1]["file"]
    block.write_bytes(block.read_bytes()[:-1])
    refused("1 of 13 files are missing or damaged, such as blocks/000.onnx.gz")
    block.unlink()
    refused("1 of 13 files are missing")
    (kit / "manifest.json").write_text(json.dumps(manifest | {"schema": "nasedu-kit-0"}))
    refused("reads kits of the schema nasedu-kit-3")
    (kit / "manifest.json").write_text(json.dumps(manifest)[:-9])
    refused("is damaged")
    (kit / "manifest.json").unlink()
    refused("not finished, or was not copied whole")
    assert not (kit / "results.jsonl").exists()


@pytest.mark.parametrize("text", ["my thesis", "my\nthesis", '{"a": 1}\n{"b"', '{"schema": "other"}\nx', "[]\n"])
def test_a_file_of_somebody_elses_stays_as_it_is(text, kit, capsys):
    mine = kit.parent / "thesis.txt"
    mine.write_text(text)
    assert run(kit, "--out", str(mine)) == 2
    assert "no file of this runner's results" in capsys.readouterr().err and mine.read_text() == text


def test_a_cut_file_of_another_kit_stays_as_it_is(kit, capsys):
    other = json.dumps(run_kit.sealed({"schema": run_kit.RESULTS, "kit": "0"})) + "\n" + '{"id": "st'
    (kit / "results.jsonl").write_text(other)
    assert run(kit) == 2
    assert "another kit" in capsys.readouterr().err and (kit / "results.jsonl").read_text() == other


def test_a_header_cut_short_is_written_again(kit):
    (kit / "results.jsonl").write_text(json.dumps({"schema": run_kit.RESULTS, "kit": "0"})[:-2])
    assert run(kit) == 0
    assert len(read_lines(kit)) == 8


@pytest.mark.parametrize(("option", "text"), [("--repeats", "2"), ("--repeats", "x"), ("--threads", "0")])
def test_what_the_runners_parser_refuses(option, text, capsys):
    with pytest.raises(SystemExit):
        run_kit.main([option, text])
    assert f"argument {option}: needs a whole number" in capsys.readouterr().err


def test_a_full_disk_is_one_sentence(kit, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_kit.os, "fsync", full)
    assert run(kit) == 2
    assert capsys.readouterr().err == "run_kit: the results: No space left on device\n"


def test_an_old_onnx_runtime_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", types.SimpleNamespace(__version__="1.9.0"))
    with pytest.raises(run_kit.Problem, match=r"1\.9\.0 is too old, the kit needs 1\.18"):
        run_kit.load_runtime("onnxruntime")


def test_the_runner_judges_and_times_as_measure_does(monkeypatch):
    ours = latency.SPREAD, latency.SHORTEST, latency.ATTEMPTS
    theirs = run_kit.NOISE, run_kit.SHORTEST / 1e3, run_kit.ATTEMPTS
    assert theirs == ours  # written twice: the runner stands alone
    line = Clock([1, 1] + [1] * 4, timer=0.5).measure(monkeypatch)
    assert line["median_ms"] == pytest.approx(1)  # the timer's own time is told, not taken off


# the way back


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda lines: lines[:-2], "2 of 7 are missing ('network 00', 'network 01')"),
        (lambda lines: lines[:1], "7 of 7 are missing ('empty call', 'stem', 'first conv' ...)"),
        (lambda lines: lines + [lines[3]], "line 9: 'first conv' is there twice"),
        (lambda lines: lines + [lines[2] | {"id": "fourth"}], "line 9: the kit has no 'fourth'"),
        (lambda lines: [lines[0] | {"kit": "0"}, *lines[1:]], "another kit ('0', this one is"),
        (lambda lines: [lines[0] | {"schema": "x"}, *lines[1:]], "no results of a kit"),
        (lambda lines: lines[1:], "no results of a kit"),
        (lambda lines: [], "no results of a kit"),
        (lambda lines: [lines[0], lines[1] | {"median_ms": math.nan}, *lines[2:]], "above 0 ms, got nan"),
        (lambda lines: [lines[0], lines[1] | {"median_ms": -1.0}, *lines[2:]], "above 0 ms, got -1.0"),
        (lambda lines: [lines[0], lines[1] | {"high_ms": math.inf}, *lines[2:]], "high_ms of 'empty call' must"),
        (lambda lines: [lines[0], lines[1] | {"high_ms": 10**400}, *lines[2:]], "above 0 ms, got a number of"),
        (lambda lines: [lines[0], lines[1] | {"low_ms": 0}, *lines[2:]], "above 0 ms, got 0"),
        (lambda lines: [lines[0], lines[1] | {"low_ms": 9.0}, *lines[2:]], "about its median"),
        (lambda lines: [lines[0], lines[1] | {"high_ms": 0.1}, *lines[2:]], "about its median"),
        (lambda lines: [lines[0], lines[1] | {"noisy": "false"}, *lines[2:]], "true or false, got 'false'"),
        (lambda lines: [lines[0] | {"threads": None}, *lines[1:]], "line 1: threads cannot be None"),
        (lambda lines: [lines[0] | {"threads": 0}, *lines[1:]], "threads cannot be 0"),
        (lambda lines: [lines[0] | {"device": 3}, *lines[1:]], "device cannot be 3"),
        (lambda lines: [lines[0] | {"timer_ms": -1}, *lines[1:]], "timer_ms cannot be -1"),
        (lambda lines: [lines[0], lines[1] | {"median_ms": "1"}, *lines[2:]], "above 0 ms, got '1'"),
        (lambda lines: [lines[0], 3, *lines[2:]], "line 2 cannot be read"),
        (lambda lines: [{k: v for k, v in lines[0].items() if k != "threads"}, *lines[1:]], "does not say threads"),
    ],
)
def test_results_that_cannot_be_used(change, sentence, kit, capsys):
    lines = change(results(kit, json.loads((kit / "manifest.json").read_text())))
    write_results(kit, lines)
    assert cli.main(["import-kit", str(kit)]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not (kit / "latency_ms.json").exists()


def test_a_digit_that_changed_on_its_way_is_found(kit, capsys):
    """By the way back and by a runner that goes on: a figure of any line."""
    assert run(kit) == 0
    before = import_kit(kit).table
    lines = (kit / "results.jsonl").read_text().splitlines(keepends=True)
    for number, line in enumerate(lines):
        told, figure = json.loads(line), "median_ms" if number else "timer_ms"
        changed = json.dumps(told | {figure: told[figure] + 0.001}) + "\n"
        (kit / "results.jsonl").write_text("".join([*lines[:number], changed, *lines[number + 1 :]]))
        with pytest.raises(KitError, match=f"line {number + 1} was changed after it was written"):
            import_kit(kit)
        assert run(kit) == 2 and "was changed after it was written" in capsys.readouterr().err
    (kit / "results.jsonl").write_text("".join(lines))
    assert import_kit(kit).table.fixed == before.fixed


def test_the_price_of_a_call_is_paid_once(kit):
    manifest = json.loads((kit / "manifest.json").read_text())
    ms = {"stem": 1.0, "first conv": 0.5, "add": 0.1, "classify": 0.3}  # add: less than a call, which costs 0.25
    results(kit, manifest, lambda entry: ms.get(entry["id"], 5.0))
    table = import_kit(kit).table
    assert table.fixed == pytest.approx(0.25 + 0.75 + 0.0 + 0.05)
    assert table.entries[0].tolist() == pytest.approx([0.5, 0, 0]) and table.provenance["call_ms"] == 0.25


def test_a_space_is_called_as_the_command_line_calls_it(kit):
    for name, options, text in [
        ("nasbench201:course", {}, "nasbench201:course"),
        ("fbnet:course", {"input_size": 64}, "fbnet:course input_size=64"),
        ("yolo:p5", {"num_classes": 3}, "yolo:p5 num_classes=3"),
        ("tiny", {}, "tiny"),
    ]:
        assert spoken(spaces.create(name, **options)) == text
    results(kit, json.loads((kit / "manifest.json").read_text()))
    assert str(import_kit(kit)).startswith("tiny on ")


def test_a_last_line_cut_short_is_missing(kit):
    results(kit, json.loads((kit / "manifest.json").read_text()))
    text = (kit / "results.jsonl").read_text()
    (kit / "results.jsonl").write_text(text[:-1])
    with pytest.raises(KitError, match="1 of 7 are missing"):
        import_kit(kit)


def test_kits_that_cannot_be_used(kit, tmp_path, monkeypatch):
    manifest = json.loads((kit / "manifest.json").read_text())
    results(kit, manifest)
    for change, sentence in [
        ({"batch": 2}, "was changed after it was written"),
        ({"schema": "nasedu-kit-0"}, "no manifest of a kit"),
    ]:
        (kit / "manifest.json").write_text(json.dumps(manifest | change))
        with pytest.raises(KitError, match=sentence):
            import_kit(kit)
    with pytest.raises(KitError, match="is no kit"):
        import_kit(tmp_path)
    (kit / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(TinySpace, "name", "other")
    with pytest.raises(KitError, match="other layers or choices"):
        import_kit(kit)
    monkeypatch.undo()
    with pytest.raises(KitError, match="no results can be read"):
        import_kit(kit, tmp_path / "none.jsonl")


@pytest.mark.usefixtures("quick")
def test_noisy_networks_are_not_judged_by(tmp_path):
    space = spaces.create("nasbench201", width=0.125, depth=0.2, input_size=8)
    manifest = write_kit(space, tmp_path, networks=13, spares=0)
    for noisy, judged in [(2, 11), (4, 13)]:
        lines = results(tmp_path, manifest, lambda entry: 1.0 + len(entry["file"]))
        for line in lines[-noisy:]:
            line |= {"median_ms": 900.0, "high_ms": 900.0, "noisy": True}
        write_results(tmp_path, lines)
        found = import_kit(tmp_path)
        assert (found.noisy, len(found.networks), found.study.n) == (noisy, 13, judged)
        assert found.correction.before.n == 11 if noisy == 2 else "10 calm networks or more, here 9" in found.note
        assert ("11 of 13 (without noisy ones)" in str(found)) == (noisy == 2)


@pytest.fixture
def cells(quick, tmp_path):
    """A kit of 41 networks of little cells, its manifest, and a device whose blocks lie: nothing as measured alone."""
    space = spaces.create("nasbench201", width=0.125, depth=0.2, input_size=8)
    kit, price = tmp_path / "kit", {}
    manifest = write_kit(space, kit, networks=41, spares=0)
    draw = np.random.default_rng(0)
    worth = {(d, c): draw.uniform(0, 0.4) for d in range(6) for c in range(5)}
    for entry in manifest["entries"]:
        arch = entry["arch"]
        price[entry["id"]] = 1.0 + sum(worth[d, c] for d, c in enumerate(arch)) if arch else draw.uniform(0.3, 2)
    return space, kit, manifest, price


def test_a_table_is_estimated_where_blocks_do_not_add_up(cells, capsys):
    space, kit, manifest, price = cells
    results(kit, manifest, lambda entry: price[entry["id"]])
    found = estimate_kit(kit)
    assert found.after.n == 41 and found.after.mape < 0.02 < 0.2 < found.sum.mape
    assert found.sum == import_kit(kit).study
    assert cli.main(["import-kit", str(kit), "--estimate"]) == 0
    out = capsys.readouterr().out
    assert "estimated from 41 networks" in out and "latency_ms_estimated.json" in out
    table = LookupTable.load(kit / "latency_ms_estimated.json", space)
    assert table.provenance["kit"] == manifest["id"] and table.provenance["estimate"]["prior"] == "latency_ms"
    assert table.provenance["how"] == "estimated from whole networks" and table.provenance["device"]


def test_a_device_that_cannot_run_blocks_is_estimated_by_their_macs(cells, tmp_path, capsys):
    space, kit, manifest, price = cells
    lines = results(kit, manifest, lambda entry: price[entry["id"]])
    write_results(kit, [line for line in lines if "network" in line.get("id", "network")])
    with pytest.raises(KitError, match="cut short"):
        import_kit(kit)
    alone = estimate_kit(kit)
    assert alone.sum is None and alone.after.mape < 0.02
    assert alone.table.provenance["estimate"]["prior"] == "macs" and alone.table.provenance["device"]
    write_results(kit, [line for line in lines if line.get("id") != "network 07"])
    with pytest.raises(KitError, match="'network 07'"):
        estimate_kit(kit)
    # the same times by another tool, under both names that a network has
    rows = [(line["id"], line["median_ms"]) for line in lines if "network" in line.get("id", "")]
    rows = [(name.replace("network ", "networks/") + ".onnx", ms) if ms > 1.5 else (name, ms) for name, ms in rows]
    file = tmp_path / "times.csv"
    file.write_text("network,ms\n" + "".join(f"{name},{ms}\n" for name, ms in rows))
    assert (
        cli.main(["import-kit", str(kit), "--estimate", "--results", str(file), "--out", str(tmp_path / "n.json")]) == 0
    )
    assert "a line through macs" in capsys.readouterr().out
    read = LookupTable.load(tmp_path / "n.json", space)
    assert read(space.sample(np.random.default_rng(1))) == pytest.approx(
        alone.table(space.sample(np.random.default_rng(1))), rel=1e-5
    )
    assert read.provenance["read_from"] == "times.csv"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "needs the header 'network,ms'"),
        ("network 00,1\n", "needs the header 'network,ms'"),
        ("network,ms\nnetwork 00,1\nnetworks/00.onnx,2\n", "row 3: 'network 00' is there twice"),
        ("network,ms\nnetwork 99,1\n", "row 2: .*network 9"),
        ("network,ms\nnetwork 00,fast\n", "row 2: .*fast"),
        ("network,ms\nnetwork 00,nan\n", "row 2.*finite"),
        ("network,ms\nnetwork 00,-1\n", "row 2: a time is above 0 ms, got '-1'"),
        ("network,ms\nnetwork 00\n", "row 2 has 1 cells"),
        ("\0", "no times can be read|needs the header"),
    ],
)
def test_times_that_cannot_be_are_refused(kit, tmp_path, text, sentence):
    file = tmp_path / "times.csv"
    file.write_text(text)
    with pytest.raises(KitError, match=sentence):
        estimate_kit(kit, file)


def test_the_runner_measures_networks_alone_where_it_is_asked_to(kit, capsys):
    assert run(kit, "--only", "networks") == 0
    out = capsys.readouterr().out
    assert "2 of 2 to measure" in out and "import-kit FOLDER --estimate" in out
    assert [line["id"] for line in sorted(read_lines(kit)[1:], key=lambda line: line["id"])] == [
        "network 00",
        "network 01",
    ]
    assert run(kit) == 0 and "5 of 7 to measure" in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_the_correction_is_written_beside_the_table(tmp_path, capsys, monkeypatch):
    space = spaces.create("nasbench201", width=0.125, depth=0.2, input_size=8)
    kit = tmp_path / "kit"
    manifest = write_kit(space, kit, networks=12, spares=0)
    results(kit, manifest, lambda entry: 1.0)
    table = import_kit(kit).table
    # every network takes half a ms more than its pieces, and 1 % of it at random
    noise = np.random.default_rng(0).normal(1, 0.01, 12)
    times = iter(noise * [table(tuple(e["arch"])) + 0.5 for e in manifest["entries"] if e["kind"] == "network"])
    results(kit, manifest, lambda entry: 1.0 if entry["kind"] == "block" else float(next(times)))
    found = import_kit(kit)
    assert len(found.networks) == found.study.n == 12
    assert found.study.mape == pytest.approx(
        np.abs(found.networks.predicted_ms / found.networks.measured_ms - 1).mean()
    )
    assert found.correction.after.mape < found.study.mape + 0.02
    assert cli.main(["import-kit", str(kit), "--out", str(tmp_path / "pi.json")]) == 0
    out = capsys.readouterr().out
    assert "as measured, on 12 whole networks: R² =" in out and "corrected (cross-validated): R² =" in out
    assert LookupTable.load(tmp_path / "pi.json", space).provenance["kit"] == manifest["id"]
    assert LookupTable.load(tmp_path / "pi_corrected.json", space).provenance["correction"]["networks"] == 12


# what stands in, other files and runtimes, and a meter


@pytest.fixture
def made_up(monkeypatch):
    """The runner measures nothing: every time is 1 ms, and networks with these numbers are noisy."""

    def noisy_at(*numbers):
        def measure(path, args, runtime, timer_ms):
            noisy = path.parent.name == "networks" and path.name.removesuffix(".onnx.gz") in numbers
            line = {"median_ms": 1.0, "low_ms": 0.5 if noisy else 1.0, "high_ms": 1.0, "attempts": 1, "noisy": noisy}
            return line | {"began": 1.0, "ended": 2.0, "calls": 9, "celsius": 40.5 + noisy}

        monkeypatch.setattr(run_kit, "measure", measure)

    return noisy_at


@pytest.fixture
def spared(quick, tmp_path):
    """A kit of ten networks and three spares."""
    space = spaces.create("nasbench201", width=0.125, depth=0.2, input_size=8)
    made = write_kit(space, tmp_path / "spared", networks=10, spares=3)
    flags = [entry.get("spare", False) for entry in made["entries"] if entry["kind"] == "network"]
    assert flags == 10 * [False] + 3 * [True]
    return tmp_path / "spared"


@pytest.mark.parametrize(
    ("noisy", "spares", "calm"),
    [((), 0, 10), (("02",), 1, 10), (("02", "10", "11", "12"), 3, 9), (("02", "07"), 2, 10)],
)
def test_spares_stand_in_for_networks_that_stay_noisy(spared, made_up, noisy, spares, calm):
    """One noisy network of ten left no corrected table."""
    made_up(*noisy)
    assert run(spared) == 0
    measured = [line["id"] for line in read_lines(spared)[1:]]
    assert sum(name in ("network 10", "network 11", "network 12") for name in measured) == spares
    found = import_kit(spared)
    assert (~found.networks.noisy.astype(bool)).sum() == calm
    assert (found.correction is None) == (calm < 10) == ("10 calm networks or more, here 9" in found.note)
    told = [40.5, 41.5 if noisy else 40.5]
    assert found.table.provenance["celsius"] == told and f"{told[1]} °C" in str(found)


def test_a_kill_at_any_moment_changes_nothing(spared, made_up, monkeypatch):
    made_up("02", "07")
    assert run(spared) == 0
    whole = sorted(read_lines(spared)[1:], key=lambda line: line["id"])
    append = run_kit.append
    for moment in range(len(whole) + 1):
        left = iter(range(moment))

        def killed(file, line, left=left):
            if next(left, None) is None:
                file.write(json.dumps(line)[:7])
                raise KeyboardInterrupt
            append(file, line)

        (spared / "results.jsonl").unlink()
        monkeypatch.setattr(run_kit, "append", killed)
        assert run(spared) == 130
        monkeypatch.setattr(run_kit, "append", append)
        assert run(spared) == 0
        assert sorted(read_lines(spared)[1:], key=lambda line: line["id"]) == whole


def test_int8_and_float32_are_tables_side_by_side(kit, capsys):
    space = spaces.create("tiny")
    for precision, name in (("float32", "results.jsonl"), ("int8", "results-int8.jsonl")):
        assert run(kit, "--precision", precision) == 0
        assert ("--results" in capsys.readouterr().out) == (precision == "int8")
        out = kit / f"{precision}.json"
        assert cli.main(["import-kit", str(kit), "--results", str(kit / name), "--out", str(out)]) == 0
        about = LookupTable.load(out, space).provenance
        assert (about["precision"], about["backend"]) == (precision, "onnxruntime")
    manifest = json.loads((kit / "manifest.json").read_text())
    files = {e["id"]: [held["file"] for held in write.files_of(e)] for e in manifest["entries"]}
    assert files["stem"] == ["blocks/000.onnx.gz", "int8/blocks/000.onnx.gz"] and len(files["empty call"]) == 1
    model = onnx.load_from_string(gzip.decompress((kit / files["network 00"][1]).read_bytes()))
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in model.graph.node}


@pytest.mark.usefixtures("quick")
def test_a_kit_without_int8_says_so(tmp_path, capsys):
    write_kit(spaces.create("tiny"), tmp_path / "kit", networks=0)
    assert run(tmp_path / "kit", "--precision", "int8") == 2
    assert "no int8 files: make it with nasedu kit --int8" in capsys.readouterr().err


def test_openvino_runs_a_kit(kit):
    pytest.importorskip("openvino")
    assert run(kit, "--runtime", "openvino") == 0
    about = import_kit(kit, kit / "results-openvino.jsonl").table.provenance
    assert (about["backend"], about["provider"]) == ("openvino", "CPU") and about["version"][0] == "2"
    with pytest.raises(run_kit.Problem, match="OpenVINO has no TPU here; available: CPU"):
        run_kit.load_runtime("openvino", "TPU")


def test_ncnn_runs_whole_networks(kit, capsys):
    ncnn = pytest.importorskip("ncnn")
    assert run(kit, "--runtime", "ncnn") == 2 and "add --only networks" in capsys.readouterr().err
    assert run(kit, "--runtime", "ncnn", "--only", "networks") == 0
    lines = [json.loads(line) for line in (kit / "results-ncnn.jsonl").read_text().splitlines()]
    assert (lines[0]["runtime"], lines[0]["version"], lines[0]["provider"]) == ("ncnn", ncnn.__version__, "CPU")
    held = json.loads((kit / "manifest.json").read_text())["entries"]
    networks = {entry["id"]: entry["file"] for entry in held if entry["kind"] == "network" and not entry.get("spare")}
    assert networks.keys() <= {line["id"] for line in lines[1:]}
    for file in networks.values():  # what is timed computes what the file says
        content = gzip.decompress((kit / file).read_bytes())
        (shapes, ours), (_, theirs) = (run_kit.load_runtime(name).open(content, 1) for name in ("ncnn", "onnxruntime"))
        feeds = run_kit.random_inputs(shapes)
        (given,) = feeds.values()
        for one, other in zip(ours(feeds), theirs({"x0": given}), strict=True):
            np.testing.assert_allclose(one.reshape(other.shape), other, atol=1e-5)


def test_a_device_may_ask_for_old_operators(tmp_path, capsys):
    made = write_kit(spaces.create("tiny"), tmp_path / "kit", networks=1, spares=0, opset=13)
    model = onnx.load_from_string(gzip.decompress((tmp_path / "kit" / made["entries"][-1]["file"]).read_bytes()))
    assert [x.version for x in model.opset_import if x.domain == ""] == [13]
    with pytest.raises(ParameterError, match="opset"):
        write_kit(spaces.create("tiny"), tmp_path / "other", int8=True, opset=12)


def test_a_slow_meter_is_given_its_time(monkeypatch):
    line = Clock([1] * 10_000).measure(monkeypatch, seconds=2)
    assert line["ended"] - line["began"] == pytest.approx(2, abs=0.01) and line["calls"] == pytest.approx(2000, abs=2)


def test_temperature_and_clock_are_the_largest_that_the_system_tells(tmp_path):
    for name, text in [("a", "41200\n"), ("b", "63900"), ("c", "no sensor"), ("d", "-1")]:
        (tmp_path / name).write_text(text)
    assert run_kit.most(tmp_path.iterdir(), 1e3) == 63.9
    assert run_kit.most([tmp_path / "none"], 1e3) is None


def log_of(path, watts, step=0.1, last=60.0):
    """What a meter writes that is read every `step` seconds."""
    times = np.arange(0, last, step)
    path.write_text("seconds,watts\n" + "".join(f"{t:.3f},{watts(t):.6f}\n" for t in times))
    return path


def test_energy_is_what_the_meter_read_while_a_file_ran(kit, tmp_path, capsys):
    """Every file runs a hundred times within a second of its own, at so many watts as its number."""
    manifest = json.loads((kit / "manifest.json").read_text())
    lines = results(kit, manifest)
    log = log_of(tmp_path / "log.csv", lambda t: 2 + 0.5 * t)
    out = tmp_path / "energy.json"
    command = ["import-kit", str(kit), "--energy", str(log), "--idle", "2", "--out", str(out)]
    assert cli.main(command) == 0 and "mJ a batch of 1" in capsys.readouterr().out
    table = LookupTable.load(out, spaces.create("tiny"))
    # 0.5 t watts over [i, i + 1] are (2 i + 1) / 4 joules, a hundredth of them a run
    mj = {line["id"]: 2.5 * (2 * i + 1) for i, line in enumerate(lines) if i}
    assert (table.metric, table.unit) == ("energy_mj", "mJ")
    call = mj["empty call"]
    assert table.entries[1].tolist() == pytest.approx([mj["first conv"] - call, 0])
    assert table.fixed == pytest.approx(call + sum(mj[name] - call for name in ("stem", "add", "classify")))
    assert table.provenance["idle_watts"] == 2 and table.provenance["meter"] == "log.csv"


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        (lambda path: log_of(path, lambda t: 1.0, last=5.0), "does not cover"),
        (lambda path: log_of(path, lambda t: 1.0, step=0.4), "2 readings while .* --seconds 5"),
        (lambda path: path.write_text("seconds,watts\n1,2\n1,3\n"), "row 3: .*seconds go up"),
        (lambda path: path.write_text("seconds,watts\n1,-2\n"), "row 2: watts are 0 or more"),
        (lambda path: path.write_text("seconds,watts\n1,nan\n"), "row 2.*finite"),
        (lambda path: path.write_text("time,power\n1,2\n"), "needs the header 'seconds,watts', got 'time,power'"),
        (lambda path: path.write_text("seconds,watts\n1,2\n"), "has 1 readings"),
        (lambda path: path.write_text("seconds,watts\n1\n"), "row 2 has 1 cells"),
    ],
)
def test_logs_that_cannot_be_used(kit, tmp_path, log, sentence):
    results(kit, json.loads((kit / "manifest.json").read_text()))
    log(tmp_path / "log.csv")
    with pytest.raises(KitError, match=sentence):
        energy_kit(kit, tmp_path / "log.csv")
