"""All boundaries against a catalogue of bad values, and a fuzzer: typed sentences only, at once, and nothing is left.

A boundary joins by a line of `CATALOGUE`: its kind, its name, what takes a value, and the values it has to refuse.
Where a value needs a file, what takes it gets the folder as well. Folders of images have tests of their own in
tests/data; the fuzzer changes their files here.
"""

from __future__ import annotations

import copy
import functools
import importlib.util
import json
import math
import random
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from nasedu import __main__ as cli
from nasedu import data, reading, sampling, search, spaces, storage, wzdnas
from nasedu.commands.named import named_space
from nasedu.course import parameters
from nasedu.deploy import submission
from nasedu.deploy.kit import estimate_kit, import_kit, run_kit, write
from nasedu.deploy.kit.read import read_results
from nasedu.errors import NaseduError, check_name
from nasedu.hardware import count
from nasedu.tables import Budget, LookupTable, at_most, latency_table
from nasedu.tables.csv import read_csv, write_csv
from nasedu.tables.foreign import read_ofa, read_wzdnas
from nasedu.tables.pieces import pieces

_spec = importlib.util.spec_from_file_location("boundaries", Path(__file__).with_name("boundaries.py"))
common = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(common)
DEEP, HOSTILE, LAUGHS, LONG = common.DEEP, common.HOSTILE, common.LAUGHS, common.LONG
NO_COUNTS, NO_FLAGS, NO_NAMES, NO_NUMBERS, NO_TEXTS = (
    common.NO_COUNTS,
    common.NO_FLAGS,
    common.NO_NAMES,
    common.NO_NUMBERS,
    common.NO_TEXTS,
)


class Boundary(NamedTuple):
    """Something that takes a value, or a value and a folder, and the values that it must refuse."""

    kind: str
    name: str
    take: object
    values: list
    folder: bool = False


@functools.cache
def space(name):
    return spaces.create(name)


SPACES = ("fbnet:course", "single_path:course", "yolo:course", "nasbench201", "resnet48:course", "plainnet")
NO_ARCH = ["", " \n", LONG, DEEP, DEEP[:200], "{" * 500, LAUGHS, HOSTILE, "null", "a: b", "- a\n- b", "3", "a: 1\na: 1"]
NO_ARCH += ["!!python/object/apply:os.system [ls]", "\x00", "\udcff", "a: &a *a", "<<: {a: b}", "? [a]\n: b", "a:\n\tb"]
NO_ARCH += ["%YAML 9.9\n---\na", "--- a\n--- b", "1" * 10_000, "|" * 3000, "SuperX(1)", "\u202e\ufeff", *NO_TEXTS]


class Text(str):
    def __len__(self):
        raise TypeError("no length")


NO_ARCH += [Text("nonsense")]
NO_INDICES = [
    None,
    5,
    "0",
    [],
    [0],
    [-1] * 12,
    [99] * 12,
    [0.5] * 12,
    [math.nan] * 12,
    ["0"] * 12,
    [None] * 12,
    [[0]] * 12,
]
NO_INDICES += [{0: 1}, (0,) * 13, [True, 10**400] * 6, torch.zeros(12), [0] * 10_000]
OPTIONS = {
    "fbnet:course": {
        "num_classes": [*NO_COUNTS, 10**9],
        "input_size": [*NO_COUNTS, 7, 100_000],
        "width": [*NO_NUMBERS, 0, 1e9],
        "depth": [*NO_NUMBERS, 0, 1e9],
        "stem_stride": [*NO_COUNTS, 3],
        "activation": [name for name in NO_NAMES if name is not None],
        "squeeze_excite": NO_FLAGS,
        "shuffle": NO_FLAGS,
        "head": NO_NAMES,
        "nonsense": [1],
        "name": ["fbnet"],
        LONG: [1],
    },
    "yolo:course": {
        "num_classes": [*NO_COUNTS, 10**9],
        "image_size": [value for value in NO_COUNTS if value is not None] + [100, 31, 100_000],
        "template": NO_NAMES,
        "semantics": NO_NAMES,
        "act": [name for name in NO_NAMES if name is not None],
        "anchors": [
            *(5, "text", [], [[]], [[[]]], [[[1, 2]]], [[[1, 2]], [[1, 2]]], [[[1, 2, 3]]] * 3, [[[1, math.nan]]] * 3),
            *([[[0, 1]]] * 3, [[[-1, 1]]] * 3, [[["a", "b"]]] * 3, [[[1, 2]], [[1, 2]], [[1, 2], [3, 4]]], np.ones(6)),
            *(torch.ones(3, 4, 2, 1), {}, [[[10**400, 1]]] * 3, [[[1, 2]] * 101] * 3, object()),
        ],
    },
    "nasbench201": {
        "operations": [None, 3, 6, [], ["none"], ["none"] * 2, "none", [None, 5], [[]], {}],
        "reduction": NO_NAMES,
    },
    "resnet48": {"pool": NO_FLAGS, "squeeze_excite": [True], "activation": ["gelu", 5]},
    "single_path:course": {"semantics": NO_NAMES, "norm": NO_NAMES},
    "spos": {"projection": NO_NAMES, "width": [0.01]},
    "proxylessnas": {"outline": NO_NAMES, "skip": NO_NAMES},
    "plainnet": {
        "num_classes": [*NO_COUNTS, 10**9],
        "input_size": [*NO_COUNTS, 100_000],
        "max_channels": [value for value in NO_COUNTS if value is not None] + [10**9],
        "split": [*NO_COUNTS, 10**9],
        "squeeze_excite": NO_FLAGS,
        "fixed_head": [value for value in NO_FLAGS if value is not None],
        "blocks": [None, 5, [], ["nonsense"], [None], [[]], "nonsense", LONG, [LONG], ["SuperConvK3BNRELU"]],
    },
}


def rng():
    return np.random.default_rng(0)


def _mutate(value):
    return space("fbnet:course").mutate((0,) * 12, rng(), value)


def _mutate_plain(value):
    plain = space("plainnet")
    return plain.mutate(plain.sample(rng()), rng(), value)


def _paths(sampler):
    return sampler.paths(space("fbnet:course"), torch.Generator().manual_seed(0))


NO_LOGITS = [[], [torch.zeros(3)] * 12, torch.zeros(12), [0.0] * 12, [torch.zeros(())] * 12, [None]]
SAMPLERS = {
    "uniform": {"n": NO_COUNTS, "nonsense": [1], "space": [1], "name": [1]},
    "sandwich": {"n": [*NO_COUNTS, 1], "table": ["macs", 5, [1]]},
    "progressive": {
        "n": NO_COUNTS,
        "table": ["macs", 5],
        "phases": [
            5,
            "depth",
            ["depth"],
            [("a", "b")],
            [("nowhere", (0, 1))],
            [("", (1, 0))],
            [("", (0, math.nan))],
            [()],
        ],
    },
    "pairs": {
        "n": NO_COUNTS,
        "tries": NO_COUNTS,
        "above": NO_NUMBERS,
        "distance": [5, "hamming"],
        "base": [5, "uniform"],
    },
    "softmax": {"temperature": [*NO_NUMBERS, 0.0], "logits": NO_LOGITS},
    "gumbel": {"start": [*NO_NUMBERS, 0.0], "end": [*NO_NUMBERS, 0.0], "fraction": NO_NUMBERS, "logits": NO_LOGITS},
    "gates": {"mode": NO_NAMES, "logits": NO_LOGITS},
}
SETTINGS = {
    search.SearchConfig: {
        "budget": NO_COUNTS,
        "feasible": [5, "small"],
        "costs": [5, {"a": 5}, ["a"]],
        "patience": [0, *(value for value in NO_NUMBERS if value is not None)],
        "together": NO_COUNTS,
    },
    search.EvolutionConfig: {
        **dict.fromkeys(("population", "children", "k"), NO_COUNTS),
        "share": [*NO_NUMBERS, 1.5],
        "mutation": [*NO_NUMBERS, 0, 1.5],
        "parents": NO_NAMES,
        "ageing": NO_FLAGS,
        "lag": NO_COUNTS[1:],
        "crossover": [name for name in NO_NAMES if name is not None],
    },
    search.ZenConfig: dict.fromkeys(("population", "children", "replacements"), NO_COUNTS)
    | {"mutation": NO_NAMES, "initial": NO_NAMES},
    search.GradientConfig: {"epochs": NO_COUNTS, "arch_lr": [*NO_NUMBERS, 0], "relaxation": NO_NAMES},
}


@functools.cache
def table():
    return LookupTable.build(space("fbnet:course"), "macs")


@functools.cache
def good_table():
    """The text of a table's file."""
    path = Path(_folder()) / "table.json"
    table().save(path)
    return path.read_text()


@functools.cache
def good_csv():
    path = Path(_folder()) / "table.csv"
    write_csv(table(), path)
    return path.read_text()


@functools.cache
def _folder():
    return tempfile.mkdtemp()


def changed(**new):
    """A table's file with other contents."""
    return json.dumps({k: v for k, v in (json.loads(good_table()) | {"hash": None} | new).items() if v != "gone"})


def no_tables():
    entries = json.loads(good_table())["entries"]
    first = next(iter(entries))
    texts = [
        "",
        "null",
        "[]",
        "5",
        '"text"',
        "{",
        DEEP,
        '{"a":' * 5000,
        '{"a": 1, "a": 1}',
        LONG,
        HOSTILE,
        "NaN",
        "1" * 5000,
    ]
    texts += [changed(**{key: "gone"}) for key in json.loads(good_table()) if key != "hash"]
    texts += [
        changed(**{key: value}) for key in ("schema", "metric", "unit", "fingerprint") for value in (5, LONG, HOSTILE)
    ]
    texts += [
        changed(provenance=5),
        changed(fixed="1"),
        changed(fixed=-1),
        changed(fixed=math.nan),
        changed(fixed=10**400),
    ]
    texts += [
        changed(entries=value) for value in (5, [], {}, {first: 5}, entries | {first: {}}, entries | {HOSTILE: {}})
    ]
    for value in ("1", None, -1, math.inf, True, [1]):
        row = dict.fromkeys(entries[first], value)
        texts.append(changed(entries=entries | {first: row}))
    return [*texts, good_table()[:-200], good_table().replace("1", "2", 1)]


NO_YAML = [
    "",
    "5",
    "- a",
    LAUGHS,
    DEEP,
    HOSTILE,
    LONG,
    "a: 1\na: 1",
    "stage:1-gamma:0.5-depth:1: {mean: 1}",
    "a: &a [*a]",
]
NO_YAML += [
    "!!int x",
    "!!timestamp x",
    "!!bool 7",
    "2001-99-99",
    "!!python/name:os.system",
    "? [a]\n: b",
    "a: !!binary x",
]
NO_YAML += [
    "stage:1-gamma:0.5-depth:1: {mean: .nan}",
    "stage:1-gamma:0.5-depth:1: {mean: 010}",
    "\x00",
    "a: 1:2:3",
    "%",
]
NO_CSV = [
    "",
    "\n\n",
    "a",
    LONG,
    HOSTILE,
    "1,2\n3",
    '"',
    "\x00",
    "fixed,1",
    "nan," * 9,
    "group [macs 1],a",
    "group [x y],a",
]
NO_CSV += ["1e999", ",".join("1" * 5000), "a,b\nc,d"]


def _load(text, folder):
    return LookupTable.load(_file(folder, "t.json", text), space("fbnet:course"))


def _file(folder, name, text):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return path


NOT_UTF8 = [b"\xff\xfe\x00", b"\x80abc"]
NO_PATHS = [None, 5, [], 2.5]
NO_SHAPES = [5, None, "x", (3, -8, 8), (3, "a", 8), (3, 8.5, 8), (3, 10**9, 10**9), (4, 8, 8), (3, True, 8)]
NO_SIZES = [None, "x", -5, 2.5, math.nan, True]
PATHS = ["/nonexistent/" + LONG, "x" * 300, "\x00", "/dev/null", "/", HOSTILE]


# ---- command line and parameters -----------------------------------------------------------------------------------

VALUES = {
    "int": [
        "010x",
        "2.5",
        "1e3",
        "ten",
        "yes",
        "2001-99-99",
        "!!int x",
        "12:30:45",
        "0x10",
        "[1]",
        "{a: 1}",
        DEEP,
        LONG,
        "true",
    ],
    "float": ["nan", "inf", "1e999", "12:30:45", "ten", "[1.0]", "2001-01-01", "!!float x", HOSTILE, "-.inf", "1,5"],
    "bool": ["1", "maybe", "[true]", LONG, "2.5", "!!bool x"],
    "list[int]": ["1", "[1, x]", "[1, 2.5]", "[", DEEP, "[1, [2]]", "{a: 1}", "&a [*a]", "[yes]", '["1", a]'],
    "list[float]": ["[nan]", "[1e999]", "[a]"],
    "list[str]": ["cat", "[[a]]", "[", "{a: b}", "[a: b]", "\x00", "\udcff"],
}
KIT_OPTIONS = [
    "num_classes=2001-99-99",
    "num_classes=!!int x",
    "num_classes=2.5",
    "num_classes=010x",
    "num_classes=[1]",
]
KIT_OPTIONS += [f"num_classes={DEEP}", f"num_classes={LAUGHS}", "input_size=100000", "input_size=yes", "width=.nan"]
KIT_OPTIONS += ["width=12:30:45", "num_classes", f"{LONG}=1", f"num_classes={LONG}", "squeeze_excite=yes", "name=fbnet"]
KIT_OPTIONS += ["width=nan", "num_classes=0", "=1", f"{HOSTILE}=1", "num_classes=\x00", "num_classes=\x1b[31m"]
COMMANDS = [
    ["kit", "--space", LONG, "--out", "k"],
    ["kit", "--space", HOSTILE, "--out", "k"],
    ["kit", "--space", "fbnet:course", "--out", LONG],
    ["kit", "--space", "fbnet:course", "--out", "k\x00"],
    ["kit", "--space", "fbnet:course", "--out", "k", "--batch", "0"],
    ["kit", "--space", "fbnet:course", "--out", "k", "--batch", "1000000000"],
    ["kit", "--space", "fbnet:course", "--out", "k", "--networks", "-1"],
    ["kit", "--space", "fbnet:course", "--out", "k", "--networks", "1000000000"],
    ["kit", "--space", "fbnet:course", "--out", "k", "--workers", "0"],
    ["kit", "--space", "fbnet:course", "--out", "k", "--spares", "-1"],
    ["kit", "--space", "fbnet:course", "--out", "k", "--opset", "11"],
    ["kit", "--space", "fbnet:course", "--out", "k", "--opset", "12", "--int8"],
    ["kit", "--space", "fbnet:course", "--out", "k", "--seed", "-1"],
    ["kit", "--space", "plainnet", "--out", "k"],
    ["kit", "--space", "fbnet", "--out", "k", "-p", "num_classes=2", "-p", "num_classes=3"],
    ["import-kit", LONG],
    ["import-kit", "nowhere"],
    ["import-kit", "nowhere", "--idle", "2"],
    ["import-kit", "nowhere", "--energy", "none.csv", "--idle", "-1"],
    ["import-kit", ".\x00"],
    ["rank", "nowhere.json"],
    ["rank", LONG, "--merge", "a"],
    ["rank", "f", "--space", "fbnet", "--weights", LONG, "--state", "s"],
    ["rank", "f", "--space", "fbnet", "--weights", "w", "--state", "s", "--share", "0" * 5000],
    ["rank", "f", "--space", "fbnet", "--weights", "w", "--state", "s", "--workers", "0"],
    ["grade", LONG],
    ["grade", ".", "--limit", "nan"],
    ["grade", ".", "--jobs", "0"],
    ["run", LONG],
    ["run", HOSTILE],
    ["run", "14", "-p", f"{LONG}=1"],
    ["run", "14", "-p", f"target={LONG}\x00"],
    ["run", "14", "-p", "threads=010x"],
    ["run", "14", "-p", f"image_size={DEEP}"],
    ["build", LONG],
]


# ---- kits, rankings, states ----------------------------------------------------------------------------------------


SMALL = {"num_classes": 2, "input_size": 8, "width": 0.0625, "depth": 0.2}


RAN = {"began": 1.0, "ended": 2.0, "calls": 9}


@functools.cache
def good_manifest():
    """A kit's table of contents, whose files are not there: nobody who imports it looks at them."""
    s = spaces.create("nasbench201", **SMALL)
    listed = [
        {"name": p.name, "group": p.group, "option": list(p.option), "entry": f"piece {i}"}
        for i, p in enumerate(pieces(s))
    ]
    entries = [{"id": write.CALL, "kind": "call", "arch": None, "file": "call.onnx.gz", "sha256": "0" * 64}]
    for i, piece in enumerate(listed):
        entries.append(
            {"id": piece["entry"], "kind": "block", "arch": None, "file": f"blocks/{i:03}.onnx.gz", "sha256": "1" * 64}
        )
    archs = [(0, 1, 2, 3, 4, 0), (3, 3, 3, 3, 3, 3)]
    for i, arch in enumerate(archs):
        entries.append(
            {
                "id": f"network {i}",
                "kind": "network",
                "arch": arch,
                "file": f"networks/{i:02}.onnx.gz",
                "sha256": "2" * 64,
            }
        )
    made = {
        "schema": run_kit.KIT,
        "space": {"name": "nasbench201", "options": s.made[0].keywords},
        "fingerprint": s.fingerprint,
    }
    made |= {"batch": 1, "seed": 0, "networks": 2, "versions": {"nasedu": "1"}, "entries": entries, "pieces": listed}
    return json.loads(json.dumps(made))


def good_results(manifest, lines_of=None):
    header = {"schema": run_kit.RESULTS, "kit": write.manifest_id(manifest), "timer_ms": 1e-4}
    header |= dict.fromkeys(
        ("device", "machine", "system", "governor", "python", "numpy", "version", "provider", "date"), "x"
    )
    header |= {"runtime": "onnxruntime", "precision": "float32"}
    header |= dict.fromkeys(("cores", "threads", "repeats", "warmup"), 2)
    lines = [
        {"id": entry["id"], "median_ms": 2.0 + i % 7, "low_ms": 1.5, "high_ms": 9.5, "noisy": False} | RAN
        for i, entry in enumerate((lines_of or manifest)["entries"])
        if entry["file"]
    ]
    return [header, *lines]


def kit(folder, manifest, lines):
    manifest = {"id": write.manifest_id(manifest), **manifest}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "results.jsonl").write_text("".join(json.dumps(run_kit.sealed(line)) + "\n" for line in lines))
    return folder


def _import_manifest(change, folder):
    manifest = copy.deepcopy(good_manifest())
    change(manifest)
    return import_kit(kit(folder, manifest, good_results(manifest, good_manifest())))


def _import_results(change, folder):
    lines = good_results(good_manifest())
    change(lines)
    return import_kit(kit(folder, good_manifest(), lines))


def _runner(change, folder):
    """The runner's own reading, which tells of a `Problem` in place of nasedu's errors."""
    manifest = copy.deepcopy(good_manifest())
    change(manifest)
    kit(folder, manifest, [])
    try:
        run_kit.read_manifest(folder)
    except run_kit.Problem as problem:
        raise NaseduError(run_kit.printable(problem)) from None


def put(*path, value):
    """What changes a nested value."""

    def change(of):
        for key in path[:-1]:
            of = of[key]
        if value == "gone":
            del of[path[-1]]
        else:
            of[path[-1]] = value

    return change


NOTHING = {"file": None, "sha256": None}
NO_ENTRY = [
    put("entries", 1, "file", value=v)
    for v in ("../x", "/etc/passwd", "blocks/../../x", 5, "", [], HOSTILE, "gone", LONG)
]
NO_ENTRY += [put("entries", 1, "id", value=v) for v in ("empty call", 5, None, "", HOSTILE, LONG, [], "gone")]
NO_ENTRY += [put("entries", 1, "sha256", value=v) for v in (5, None, "", [], "gone")]
NO_ENTRY += [put("entries", 1, value=v) for v in (5, None, [], {})] + [
    put("entries", value=v) for v in (5, None, {}, "gone")
]
NO_ENTRY += [
    put("entries", 1, "int8", value=v)
    for v in (5, "", [], {}, {"file": "../x", "sha256": "1"}, {"file": "int8/call.onnx.gz", "sha256": "1"}, NOTHING)
]
NO_ENTRY += [put("entries", 1, "kind", value=v) for v in (5, None, "", HOSTILE, "layer", "gone")]
NO_ENTRY += [put("schema", value=v) for v in (5, None, LONG, HOSTILE, "gone")]
NO_MANIFEST = [
    *NO_ENTRY,
    *(put("space", value=v) for v in (5, None, {}, [], "gone")),
    *(put("space", "name", value=v) for v in (5, None, "nonsense", HOSTILE, LONG, "plainnet", "fbnet", "gone")),
    *(
        put("space", "options", value=v)
        for v in (5, None, [], {"num_classes": "x"}, {"name": 1}, {HOSTILE: 1}, {"input_size": 10**9})
    ),
    *(put("fingerprint", value=v) for v in (5, None, HOSTILE, "gone")),
    *(put("batch", value=v) for v in (0, -1, 2.5, None, True, 10**400, "1", "gone")),
    *(put("versions", value=v) for v in (5, None, [], {"nasedu": HOSTILE}, "gone")),
    *(put("pieces", value=v) for v in (5, None, [], [5], {}, "gone")),
    *(put("pieces", 0, "name", value=v) for v in (5, None, HOSTILE, "gone")),
    *(put("pieces", 0, "entry", value=v) for v in (5, None, HOSTILE, "nonsense", [], "gone")),
    *(put("entries", -1, "arch", value=v) for v in (5, None, [], [0], ["0"] * 6, [9] * 6, [[0]] * 6, HOSTILE, "gone")),
    put("entries", 0, "id", value="another call"),
]
NO_RESULTS = [
    *(put(0, "device", value=v) for v in (5, None, HOSTILE, LONG, "gone")),
    *(put(0, "threads", value=v) for v in (0, -1, 2.5, True, "1", 10**400, None, "gone")),
    *(put(0, "timer_ms", value=v) for v in (-1, "1", None, math.nan, math.inf, 10**400, "gone")),
    *(put(0, "runtime", value=v) for v in (5, None, [], HOSTILE, "tflite", "gone")),
    *(put(0, "precision", value=v) for v in (5, None, {}, "int4", "gone")),
    *(put(1, "began", value=v) for v in (-1, "1", None, math.nan, 3.0, 1e300, "gone")),
    *(put(1, "ended", value=v) for v in (0.5, "1", None, math.inf, 10**400, "gone")),
    *(put(1, "calls", value=v) for v in (0, -1, 1.5, True, "1", None, "gone")),
    *(put(1, "celsius", value=v) for v in ("41", True, [], math.nan, 10**400)),
    *(put(0, "kit", value=v) for v in (5, None, HOSTILE, "gone")),
    *(put(0, "schema", value=v) for v in (5, None, HOSTILE, "gone")),
    *(
        put(1, "median_ms", value=v)
        for v in (0, -1, "1", None, math.nan, math.inf, 1e300, 1e-300, True, [], 10**400, "gone")
    ),
    *(put(1, "low_ms", value=v) for v in (5.0, 0, None)),
    *(put(1, "high_ms", value=v) for v in (1.0, math.nan)),
    *(put(1, "noisy", value=v) for v in (0, 1, None, "no", "gone")),
    *(put(1, "id", value=v) for v in ("nonsense", 5, None, [], {}, HOSTILE, LONG, "piece 1", "gone")),
    lambda lines: lines.pop(),
    lambda lines: lines.clear(),
]
NO_LINES = ["", "\n", "5\n", "null\n", DEEP + "\n", "{}\n", LONG + "\n", '{"schema": "x"}\n', HOSTILE + "\n", "\x00"]


def _lines(text, folder):
    kit(folder, good_manifest(), [])
    return import_kit(folder, _file(folder, "results.jsonl", text))


NO_TIMES = [
    *NO_LINES,
    "network,ms\n",
    *(f"network,ms\n{row}\n" for row in ("x,1", f"{HOSTILE},1", f"{LONG},1", "1," * 5000)),
]


def _times(text, folder):
    kit(folder, good_manifest(), [])
    return estimate_kit(folder, _file(folder, "times.csv", text))


NO_RANKING = [
    "",
    "[]",
    "{}",
    "5",
    DEEP,
    LONG,
    HOSTILE,
    '{"a": 5}',
    '{"a": {}}',
    '{"a": {"arch": 5}}',
    '{"a b": {"arch": "1"}}',
]
NO_RANKING += [
    '{"a": {"arch": "1"}, "a": {"arch": "1"}}',
    '{"\\u001b": {"arch": "1"}}',
    '{"a": {"arch": [1]}}',
    '{"": {"arch": "1"}}',
]
NO_STATE = [
    "",
    "a b c\n",
    "# nasedu-ranking x\na b\n",
    "# nasedu-ranking x\na b nan\n",
    "# nasedu-ranking x\na b c\n",
    DEEP,
    HOSTILE,
]
NO_STATE += ["# nasedu-ranking x\na b inf\n", b"\xff\xfe"]


def _merge(text, folder):
    names = _file(folder, "f.json", '{"n": {"arch": "a", "acc": 0}}')
    return submission.merge(names, [_file(folder, "state", text)])


def _rank(text, folder):
    names = _file(folder, "f.json", json.dumps({"n": {"arch": text, "acc": 0}}))
    return submission.rank(names, space("resnet48:course"), lambda arch: 1.0, state=folder / "state")


@functools.cache
def good_state():
    path = Path(_folder()) / "state"
    storage.save_state(path, {"a": torch.zeros(2)}, "mine")
    return path.read_bytes()


def no_states():
    good = good_state()
    return [
        b"x",
        b"\n",
        good[:-5],
        good[:40],
        good.replace(b"state-2", b"state-3"),
        good[:80] + b"\x00" + good[81:],
        LONG.encode(),
    ]


def _state(content, folder):
    return storage.load_state(_file(folder, "state", content), "mine")


def _weights(content, folder):
    return storage.read_weights(_file(folder, "weights", content))


@functools.cache
def good_detector():
    """Settings and weights of a detector, as `Detector.save` writes them."""
    yolo, folder = spaces.create("yolo:course", num_classes=2, image_size=64), Path(_folder())
    arch = yolo.hand_designed
    wzdnas.Detector(yolo, arch, ["dog", "cat"], yolo.build(arch, seed=0)).save(folder)
    return (folder / "detector.json").read_text(), (folder / "weights.safetensors").read_bytes()


def _detector(settings, folder):
    _file(folder, "detector.json", settings)
    _file(folder, "weights.safetensors", good_detector()[1])
    return wzdnas.load(folder)


def _tensors(content, folder):
    _file(folder, "detector.json", good_detector()[0])
    _file(folder, "weights.safetensors", content)
    return wzdnas.load(folder)


def no_detectors():
    good = json.loads(good_detector()[0])
    space = good["space"]
    changes = [
        *({"format": value} for value in (None, 5, "nasedu-detector-9")),
        *({"architecture": value} for value in (None, 5, [], "", LONG, "1 2 3", HOSTILE)),
        *({"classes": value} for value in (None, 5, "dogcat", [], ["dog"], [1, 2], ["dog", None], [LONG])),
        *({"space": value} for value in (None, 5, [], {}, space | {"evil": 1})),
        *({"space": space | {"template": value}} for value in (None, 5, "", "nonsense", LONG, ["course"])),
        *({"space": space | {"num_classes": value}} for value in (0, -1, 2.5, "2", None, 10**12, True)),
        *({"space": space | {"image_size": value}} for value in (0, -64, 63, 2.5, "64", 10**12, True)),
        *({"space": space | {"anchors": value}} for value in (5, "x", [], [[1, 2]], [[[0, 1]] * 3] * 3, [[["a"]]])),
        *({"space": space | {"act": value}} for value in (5, "nonsense", LONG)),
    ]
    return [*(json.dumps(good | change) for change in changes), "", "{", "[]", "5", "null", DEEP, '{"format": NaN}']


def no_tensors():
    good = good_detector()[1]
    huge, many = (10**15).to_bytes(8, "little"), b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4]}}'
    return [
        b"",
        b"x",
        good[:-1],
        good[:100],
        good + b"x",
        huge + good[8:],
        good[:8] + b"[" * 100 + good[108:],
        len(many).to_bytes(8, "little") + many + b"abcd",
        good.replace(b'"F32"', b'"F16"'),
        good.replace(b'"F32"', b'"EVL"', 1),
    ]


def good_net():
    yolo, path = spaces.create("yolo:p5", num_classes=2), Path(_folder()) / "net.yaml"
    wzdnas.write_authors(yolo, yolo.hand_designed, path)
    return path.read_text()


def _net(text, folder):
    return wzdnas.read_authors(_file(folder, "net.yaml", text))


def _options(name, option):
    return lambda value: spaces.create(name, **{option: value})


def _sampler(name, option):
    return lambda value: _paths(sampling.create(name, space("fbnet:course"), **{option: value}))


def _settings(kind, option):
    return lambda value: kind(**{option: value})


CATALOGUE = [
    *(
        Boundary("architecture texts", f"parse, {name}", lambda v, n=name: space(n).parse(v), NO_ARCH)
        for name in SPACES
    ),
    *(
        Boundary("architectures", f"validate, {name}", lambda v, n=name: space(n).validate(v), NO_INDICES)
        for name in SPACES
    ),
    Boundary("architectures", "mutate", lambda v: space("fbnet:course").mutate(v, rng()), NO_INDICES),
    Boundary("architectures", "crossover", lambda v: space("fbnet:course").crossover((0,) * 12, v, rng()), NO_INDICES),
    Boundary("options", "mutate, p", _mutate, [*NO_NUMBERS, 1.5]),
    Boundary("options", "mutate of plainnet, p", _mutate_plain, [v for v in NO_NUMBERS if v is not None]),
    Boundary("options", "sample, rng", lambda v: space("fbnet:course").sample(v), [None, 5, "x", random.Random(0)]),
    Boundary(
        "names",
        "spaces.create",
        spaces.create,
        [*NO_NAMES, "yolo:nonsense", "fbnet:x", "plainnet:course"],
    ),
    Boundary(
        "names",
        "variants",
        spaces.create,
        ["yolo:nonsense", "fbnet:x", "plainnet:course", f"fbnet:{LONG}", f"yolo:{HOSTILE}"],
    ),
    Boundary("names", "samplers", lambda v: sampling.create(v, space("fbnet:course")), NO_NAMES),
    Boundary("names", "samplers of what is no space", lambda v: sampling.create("uniform", v), [None, 5, "fbnet"]),
    Boundary(
        "names",
        "among long ones",
        lambda v: check_name("class", v, ["cat", LONG, HOSTILE * 50]),
        [*NO_NAMES[:5], LONG * 100],
    ),
    *(
        Boundary("options", f"{n}, {o[:20]}", _options(n, o), v)
        for n, options in OPTIONS.items()
        for o, v in options.items()
    ),
    *(
        Boundary("options", f"{n}, {o}", _sampler(n, o), v)
        for n, options in SAMPLERS.items()
        for o, v in options.items()
    ),
    *(
        Boundary("options", f"{k.__name__}, {o}", _settings(k, o), v)
        for k, options in SETTINGS.items()
        for o, v in options.items()
    ),
    Boundary("options", "classification, noise", lambda v: data.classification("digits", "val", noise=v), NO_NUMBERS),
    Boundary(
        "options",
        "classification, distortion",
        lambda v: data.classification("digits", "val", distortion=v),
        NO_NUMBERS,
    ),
    Boundary("options", "classification, size", lambda v: data.classification("digits", "val", size=v), NO_COUNTS[:5]),
    Boundary(
        "options", "at_most, target", lambda v: at_most(table(), v), [None, "5", math.nan, [1], -1.0, 10**400, LONG]
    ),
    Boundary("options", "at_most, table", lambda v: at_most(v, 5.0), [None, "macs", 5]),
    Boundary(
        "options", "budgets", Budget, [None, 5, [], [5], ["macs"], [(5, 5, "squared")], [(None,) * 3], "text", [()]]
    ),
    Boundary("names", "metrics", lambda v: LookupTable.build(space("fbnet:course"), v), NO_NAMES),
    Boundary("table files", "JSON", _load, [*no_tables(), *NOT_UTF8], folder=True),
    Boundary(
        "table files",
        "YAML of WZDNAS",
        lambda v, f: read_wzdnas(_file(f, "t.yaml", v), space("yolo:course")),
        [*NO_YAML, *NOT_UTF8],
        True,
    ),
    Boundary(
        "table files",
        "YAML of OFA",
        lambda v, f: read_ofa(_file(f, "t.yaml", v), space("proxylessnas:course")),
        [*NO_YAML, *NOT_UTF8],
        True,
    ),
    Boundary(
        "table files",
        "CSV",
        lambda v, f: read_csv(_file(f, "t.csv", v), space("fbnet:course")),
        [*NO_CSV, *NOT_UTF8],
        True,
    ),
    Boundary(
        "paths", "tables", lambda v: latency_table(space("fbnet:course"), v), [p for p in PATHS if p != "/dev/null"]
    ),
    Boundary("paths", "LookupTable.load", lambda v: LookupTable.load(v, space("fbnet:course")), PATHS),
    Boundary("paths", "weights", storage.read_weights, PATHS),
    Boundary("paths", "tables in YAML", lambda v: read_wzdnas(v, space("yolo:course")), [*PATHS, *NO_PATHS]),
    Boundary("paths", "tables in CSV", lambda v: read_csv(v, space("fbnet:course")), [*PATHS, *NO_PATHS]),
    Boundary("paths", "folders of kits", import_kit, NO_PATHS),
    Boundary("names", "the space of a table in YAML", lambda v: read_wzdnas("t.yaml", v), [None, 5, "fbnet"]),
    Boundary("names", "the space of a table in CSV", lambda v: read_csv("t.csv", v), [None, 5, "fbnet"]),
    Boundary("names", "what is counted", lambda v: count(v, (3, 8, 8)), [None, 5, "conv", torch.nn.Conv2d]),
    Boundary("options", "shapes that are counted", lambda v: count(torch.nn.Conv2d(3, 4, 1), v), NO_SHAPES),
    Boundary(
        "options", "detection, cache_bytes", lambda v: data.detection("voc", "val", root=".", cache_bytes=v), NO_SIZES
    ),
    Boundary("names", "guess", data.guess, [None, 5, [], 2.5]),
    Boundary("paths", "rankings", submission.read, PATHS),
    Boundary("paths", "kits", import_kit, PATHS),
    *(
        Boundary("parameters", kind, lambda v, k=kind: parameters.parse("x", v, k), values)
        for kind, values in VALUES.items()
    ),
    Boundary("command line", "kit -p", lambda v: named_space("fbnet", [v]), KIT_OPTIONS),
    Boundary("kits", "manifests", _import_manifest, NO_MANIFEST, folder=True),
    Boundary("kits", "results", _import_results, NO_RESULTS, folder=True),
    Boundary("kits", "results' texts", _lines, [*NO_LINES, *NOT_UTF8], folder=True),
    Boundary("kits", "times of another tool", _times, [*NO_TIMES, *NOT_UTF8], folder=True),
    Boundary("kits", "the runner", _runner, NO_ENTRY, folder=True),
    Boundary(
        "rankings", "files", lambda v, f: submission.read(_file(f, "f.json", v)), [*NO_RANKING, *NOT_UTF8], folder=True
    ),
    Boundary("rankings", "strings", _rank, [v for v in NO_ARCH if type(v) is str and v != "\udcff"], folder=True),
    Boundary("rankings", "states", _merge, NO_STATE, folder=True),
    Boundary("paths", "detectors", wzdnas.load, [*PATHS, *NO_PATHS]),
    Boundary("paths", "authors' networks", wzdnas.read_authors, [*PATHS, *NO_PATHS]),
    Boundary("detectors", "settings", _detector, [*no_detectors(), *NOT_UTF8], folder=True),
    Boundary("detectors", "weights", _tensors, no_tensors(), folder=True),
    Boundary("detectors", "authors' networks", _net, [*NO_YAML, *NOT_UTF8], folder=True),
    Boundary("states", "load_state", _state, no_states(), folder=True),
    Boundary("states", "read_weights", _weights, [*no_states(), b""], folder=True),
]


@pytest.mark.parametrize("boundary", CATALOGUE, ids=lambda boundary: f"{boundary.kind}: {boundary.name}")
def test_what_is_wrong_is_refused_in_one_sentence(boundary, tmp_path, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def take(value):
        return boundary.take(value, tmp_path) if boundary.folder else boundary.take(value)

    monkeypatch.chdir(elsewhere)
    common.refusals(take, boundary.values, elsewhere)


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments)[:50])
def test_the_command_line_tells_one_sentence_and_leaves_nothing(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    started = time.process_time()
    assert cli.main(arguments) == 2
    assert time.process_time() - started < 10  # of which most is the import of PyTorch and papermill
    told = capsys.readouterr().err
    assert told.startswith("nasedu: ") and told.count("\n") == 1 and told.endswith("\n")
    assert len(told) < 310 and told[:-1].isprintable()
    assert not list(tmp_path.iterdir())


def test_the_catalogue_is_large(capsys):
    counts = Counter({"command line": len(COMMANDS)})
    for boundary in CATALOGUE:
        counts[boundary.kind] += len(boundary.values)
    with capsys.disabled():
        print(
            "\nbad inputs:", ", ".join(f"{n} {kind}" for kind, n in counts.most_common()), f"; {counts.total()} in all"
        )
    assert counts.total() >= 300


# ---- what is right is still taken ----------------------------------------------------------------------------------


def test_a_kit_as_it_should_be_is_read(tmp_path):
    found = import_kit(kit(tmp_path, good_manifest(), good_results(good_manifest())))
    assert found.table.provenance["device"] == "x" and len(found.networks) == 2


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("010", "int", 10),
        ("1_000", "int", 1000),
        ("-3", "int", -3),
        ("1e-3", "float", 0.001),
        ("5", "float", 5.0),
        ("010", "float", 10.0),
        ("yes", "bool", True),
        ("Off", "bool", False),
        ("yes", "str", "yes"),
        ("010", "str", "010"),
        ("[yes, no, 010, 12:30:45, 2001-01-01]", "list[str]", ["yes", "no", "010", "12:30:45", "2001-01-01"]),
        ("[010, 2]", "list[int]", [10, 2]),
        ("[1, 2.5]", "list[float]", [1.0, 2.5]),
        ("null", "int", None),
        ("yes", "", "yes"),
        ("12:30:45", "", "12:30:45"),
        ("[[1, 2], [3, 4.5]]", "", [[1, 2], [3, 4.5]]),
        ("true", "", True),
    ],
)
def test_a_value_on_the_command_line_is_read_as_a_person_reads_it(text, kind, value):
    found = parameters.parse("x", text, kind)
    assert found == value and type(found) is type(value)


def test_a_subclass_of_text_is_read_as_text():
    s = space("fbnet:course")
    arch = s.sample(rng())
    assert s.parse(np.str_(s.format(arch))) == arch


def test_a_message_keeps_its_end_and_is_one_printable_line():
    told = str(NaseduError(f"/a/{LONG} is\nno table\x1b[31m: " + "word " * 200 + "the end"))
    assert len(told) < 300 and told.isprintable() and told.endswith("the end") and told.startswith("/a/xxx")
    assert str(NaseduError("short and good")) == "short and good"


# ---- a fuzzer ------------------------------------------------------------------------------------------------------

TOKENS = [
    *"{}[]():,-~|+\"'&*!#%@\n\t \x00\x1b",
    "null",
    "NaN",
    "1e999",
    "-1",
    "0",
    "9" * 30,
    "&a",
    "*a",
    "!!int",
    "<<",
    "\ud7ff",
    "é",
]
ROUNDS = 300  # of every parser


def mutated(text, draw):
    """A text with a few of its places changed: characters, tokens, pieces doubled, moved or taken out."""
    for _ in range(draw.randint(1, 4)):
        at, to = sorted(draw.randrange(len(text) + 1) for _ in range(2))
        to = min(to, at + 40)
        way = draw.randrange(5)
        if way == 0:
            text = text[:at] + draw.choice(TOKENS) + text[at:]
        elif way == 1:
            text = text[:at] + text[to:]
        elif way == 2:
            text = text[:to] + text[at:to] * draw.randint(1, 3) + text[to:]
        elif way == 3:
            text = text[:at] + chr(draw.randrange(1, 0x250)) + text[at + 1 :]
        else:
            text = text[:at] + draw.choice(TOKENS) + text[to:]
    return text


def _kit_id():
    return write.manifest_id(good_manifest())


XML = (
    "<annotation><filename>a.png</filename><size><width>16</width><height>12</height></size><object><name>dog</name>"
    "<difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox></object></annotation>"
)
INSTANCES = {
    "images": [{"id": 1, "file_name": "a.png", "width": 16, "height": 12}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 8, 6], "area": 48, "iscrowd": 0}],
    "categories": [{"id": 1, "name": "dog"}],
}
LABELLED = {  # a file of each layout that describes images, where it stands, and a sound one
    "voc": ("Annotations/a.xml", XML),
    "coco": ("annotations/instances_train.json", json.dumps(INSTANCES)),
    "yolo": ("data.yaml", "train: images\nnames: {0: dog, 1: cat}\n"),
    "yolo's labels": ("labels/a.txt", "0 0.5 0.5 0.25 0.5\n1 0.1 0.1 0.9 0.1 0.5 0.9\n"),
    "voc's lists": ("ImageSets/Main/train.txt", "a\nJPEGImages/a.png\n"),
}


def _labelled(name):
    """What reads a folder of one layout, one of whose files holds a text."""
    place, layout = LABELLED[name][0], name.split("'")[0]

    def read(text, folder):
        for other, good in ((p, g) for n, (p, g) in LABELLED.items() if n.split("'")[0] == layout):
            (folder / other).parent.mkdir(parents=True, exist_ok=True)
            _file(folder, other, text if other == place else good)
        images = folder / {"voc": "JPEGImages"}.get(layout, "images")
        images.mkdir(exist_ok=True)
        if not (images / "a.png").exists():
            Image.new("RGB", (16, 12)).save(images / "a.png")
        with warnings.catch_warnings(action="ignore"):
            found = data.detection(layout, "train", root=folder, image_size=32)
        assert len(found) and all(note.text.isprintable() for note in found.notes)

    return read


PARSERS = {
    **{
        f"parse of {name}": (
            lambda text, folder, n=name: space(n).parse(text),
            lambda n=name: space(n).format(space(n).sample(rng())),
        )
        for name in SPACES
    },
    "a table in JSON": (_load, good_table),
    "a table in JSON without a hash": (_load, lambda: changed(hash="gone")),
    "a table in CSV": (
        lambda text, folder: read_csv(_file(folder, "t.csv", text), space("fbnet:course"), "macs"),
        good_csv,
    ),
    "words": (lambda text, folder: parameters.parse("x", text, ""), lambda: "[1, 2, {a: [4, 5]}, 1e3]"),
    "an option": (lambda text, folder: named_space("fbnet:course", [text]), lambda: "num_classes=20"),
    "a ranking": (
        lambda text, folder: submission.read(_file(folder, "f.json", text)),
        lambda: '{"a1": {"arch": "1132", "acc": 0.5}}',
    ),
    "a ranking's state": (_merge, lambda: "# nasedu-ranking me\nn a 0.5\nm b 0.25\n"),
    "a kit's results": (
        lambda text, folder: read_results(_file(folder, "r.jsonl", text), {"id": _kit_id(), **good_manifest()}),
        lambda: "".join(json.dumps(run_kit.sealed(line)) + "\n" for line in good_results(good_manifest())),
    ),
    "a kit's manifest": (
        lambda text, folder: write.read_manifest(_file(folder, "m.json", text)),
        lambda: json.dumps({"id": _kit_id(), **good_manifest()}),
    ),
    **{f"a file of {name}": (_labelled(name), lambda n=name: LABELLED[n][1]) for name in LABELLED},
    "a detector's settings": (_detector, lambda: good_detector()[0]),
    "an authors' network": (_net, good_net),
    "a table in YAML": (
        lambda text, folder: read_wzdnas(_file(folder, "t.yaml", text), space("yolo:course")),
        lambda: "\n".join(
            f"stage:{stage}-gamma:{width}-depth:{depth}: {{mean: 1.5}}"
            for stage, slot in enumerate(space("yolo:course").slots, 1)
            for width in slot.decisions[0].choices
            for depth in slot.decisions[1].choices
        ),
    ),
}


@pytest.mark.parametrize("name", PARSERS)
def test_what_was_changed_at_random_is_taken_or_refused_in_one_sentence(name, tmp_path):
    """Seeded, so that it fails again as it failed."""
    take, good = PARSERS[name]
    draw, text = random.Random(name), good()
    take(text, tmp_path)
    for _ in range(ROUNDS):
        changed_text, started, told = mutated(text, draw), time.process_time(), "taken"
        try:
            take(changed_text, tmp_path)
        except NaseduError as error:
            told = str(error)
        except Exception as error:
            pytest.fail(f"{type(error).__name__}: {error} at {changed_text!r}")
        assert 0 < len(told) < 300 and told.isprintable(), changed_text
        assert time.process_time() - started < common.SECONDS, changed_text


def test_bytes_changed_at_random_are_no_state(tmp_path):
    draw, good = random.Random(7), good_state()
    for _ in range(ROUNDS):
        content = bytearray(good)
        for _ in range(draw.randint(1, 3)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        if bytes(content) != good:
            common.refused(lambda: _state(bytes(content), tmp_path))  # noqa: B023 - it is called at once


def test_plain_values_survive_their_own_writing():
    """The bounds leave room for what people write."""
    nested = {"a": [1, 2.5, None, True, {"b": ["c"] * 100}]}
    assert reading.parse(json.dumps(nested)) == nested == reading.parse(json.dumps(nested), "yaml")
    assert reading.parse("[010, yes, 2001-01-01]", "words") == ["010", "yes", "2001-01-01"]
    told = ["010: [010, no, 12:30:45]", "a: [2001-01-01, '010', \"true\", true, ~, .5, 1e-3, 1.]"]
    assert reading.parse("\n".join(told), "yaml") == {
        10: [10, "no", "12:30:45"],
        "a": ["2001-01-01", "010", "true", True, None, 0.5, 0.001, 1.0],
    }
