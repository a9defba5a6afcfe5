"""Identity: what a number depends on tells it from others; what it does not depend on does not."""

from __future__ import annotations

import copy
import ctypes
import datetime
import enum
import functools
import subprocess
import sys
import textwrap
import threading
import types
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from nasedu import data, spaces, tables
from nasedu.errors import ParameterError
from nasedu.storage import identity


def compiled(source, name="f", **names):
    """A function from its source, whose globals are `names`."""
    space = {"__name__": "notebook", **names}
    exec(textwrap.dedent(source), space)
    return space[name]


def closing_over(value):
    return lambda x: (x, value)


@dataclass(frozen=True)
class Settings:
    rate: float = 0.1
    where: tuple = (1, 2)


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Scale:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return self.factor * x


def network(seed=0, width=4):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.ReLU())


def hooked(hook):
    made = network()
    made[0].register_forward_hook(hook)
    return made


def long(value, at=1000):
    """A tensor whose repr shows nothing of `value`."""
    made = torch.zeros(2000)
    made[at] = value
    return made


def digits(**options):
    return data.detection("digits", "train", size=4, image_size=64, **options)


def masked(mask=None, after=False, **attributes):
    made = network()
    if mask is not None:
        weight = made[0].weight
        (weight.register_post_accumulate_grad_hook if after else weight.register_hook)(lambda g: mask)
    vars(made[0].weight).update(attributes)
    return made


def python_module(name, **held):
    made = types.ModuleType(name)
    vars(made).update(held)
    return made


def importing(value):
    """A function that imports a module of one's own when it is called, as those for workers do."""
    sys.modules["helper_of_identity"] = python_module("helper_of_identity", score=closing_over(value))
    return identity(compiled("def f(a):\n from helper_of_identity import score\n return score(a)"))


def marked(function, **attributes):
    vars(function).update(attributes)
    return function


POINT = namedtuple("POINT", "x y")
TOY = spaces.create("nasbench201", operations=["none", "skip_connect"])

DIFFERENT = {
    "large tensors": (long(0), long(1), long(1, at=1001)),
    "tensors": (torch.zeros(2), torch.zeros(1, 2), torch.zeros(2, dtype=torch.bfloat16), torch.zeros(2).long()),
    "arrays": (np.zeros(2000), np.eye(1, 2000, 1000)[0], np.zeros((40, 50)), np.zeros(2000, "f4")),
    "objects in arrays": (np.array([{}], object), np.array([{1: 2}], object)),
    "scalars": (0, 1, "0", b"0", None, False, 0.5, np.float32(0.1), 0.1, 1 + 1j),
    "containers": ([1, 2], [2, 1], [[1], 2], {1, 2}, {1: 2}, {2: 1}, [1], []),
    "times and places": (datetime.date(2026, 1, 1), datetime.date(2026, 1, 2), Path("a"), Path("b")),
    "names": (torch.float32, torch.float16, Color.RED, Color.BLUE, np.sin, np.cos, len, sum, torch.relu, torch.tanh),
    "devices": (torch.device("cpu"), torch.device("cuda:0")),
    "dataclasses": (Settings(), Settings(0.2), Settings(where=(1, 3))),
    "tuples with names": (POINT(1, 2), POINT(2, 1)),
    "objects": (Scale(1.0), Scale(2.0), functools.partial(Scale(1.0), 1), functools.partial(Scale(1.0), 2)),
    "bound methods": (Scale(1.0).__call__, Scale(2.0).__call__, np.zeros(3).dot, np.ones(3).dot),
    "generators": (torch.Generator().manual_seed(0), torch.Generator().manual_seed(1), np.random.default_rng(0)),
    "modules": (network(), network(1), network(width=5), network().eval(), network().double()),
    "hooks": (network(), hooked(lambda m, x, y: y + 1), hooked(lambda m, x, y: y + 2)),
    "hooks and marks of tensors": (masked(), masked(0.0), masked(0.5), masked(0.0, after=True), masked(skip=True)),
    "order of parts": tuple(
        nn.Sequential(OrderedDict((name, parts[name]) for name in order))
        for parts in ({"a": nn.ReLU(), "b": nn.Sigmoid()},)
        for order in ("ab", "ba")
    ),
    "modules of one's own": tuple(python_module("own", score=closing_over(value)) for value in (1, 2)),
    "modules among defaults": tuple(
        compiled("def f(a, m=m): return m.score(a)", m=python_module("own", score=closing_over(value)))
        for value in (1, 2)
    ),
    "modules within modules": tuple(
        compiled("def f(a): return p.s.score(a)", p=python_module("p", s=python_module("s", score=closing_over(value))))
        for value in (1, 2)
    ),
    "modules asked by text": tuple(
        compiled("def f(a): return getattr(m, 'score')(a)", m=python_module("own", score=closing_over(value)))
        for value in (1, 2)
    ),
    "modules imported within": (importing(1), importing(2)),
    "callable attributes of classes": tuple(compiled("class f:\n __call__ = scale", scale=Scale(k))() for k in (1, 2)),
    "structured arrays": (np.zeros(3, [("a", "f4")]), np.zeros(3, [("a", "i4")]), np.zeros(3, [("b", "f4")])),
    "views of memory": (memoryview(b"abcd")[::2], memoryview(b"bbcd")[::2], memoryview(b"abcd")),
    "attributes of functions": tuple(marked(compiled("def f(x): return f.k"), k=k) for k in (1, 2)),
    "cached methods": tuple(
        compiled(f"class f:\n @cache\n def __call__(self): return {n}", cache=functools.cache)() for n in (1, 2)
    ),
    "classes of classes": tuple(
        compiled(f"class M(type):\n def __call__(self): return {n}\nclass f(metaclass=M): pass") for n in (1, 2)
    ),
    "methods called identity": tuple(marked(compiled("class f:\n def identity(self): pass")(), k=k) for k in (1, 2)),
    "optimizers": tuple(torch.optim.SGD(network().parameters(), lr=lr) for lr in (0.1, 0.2)),
    "closures": tuple(map(closing_over, (1, 2, long(0), long(1), closing_over(1), closing_over(2)))),
    "bodies": (compiled("f = lambda x: x"), compiled("f = lambda x: -x"), compiled("f = lambda x: x.a")),
    "defaults": (
        compiled("f = lambda x, y=1: x"),
        compiled("f = lambda x, y=2: x"),
        compiled("f = lambda x, *, y=1: x"),
    ),
    "functions within": (compiled("f = lambda: lambda: 1"), compiled("f = lambda: lambda: 2")),
    "globals": tuple(compiled("def f(x):\n return x + a", a=a) for a in (1, 2, long(0), long(1))),
    "functions among globals": tuple(compiled("f = lambda x: g(x)", g=closing_over(value)) for value in (1, 2)),
    "globals of inner functions": tuple(compiled("f = lambda xs: [(lambda: a)() for x in xs]", a=a) for a in (1, 2)),
    "decorated": tuple(torch.no_grad()(closing_over(value)) for value in (1, 2)),
    "cached": tuple(functools.cache(closing_over(value)) for value in (1, 2)),
    "classes": tuple(compiled(f"class f:\n def __call__(self): return {n}") for n in (1, 2)),
    "inherited": tuple(
        compiled("class f(base): pass", base=compiled(f"class f:\n def g(self): return {n}"))() for n in (1, 2)
    ),
    "frames": tuple(pd.DataFrame({name: [value]}) for name, value in (("a", 1.0), ("a", 2.0), ("b", 1.0))),
    "spaces": (
        *(spaces.create("nasbench201", input_size=size) for size in (16, 32)),
        *(spaces.create("yolo", semantics=semantics) for semantics in ("sliced", "faithful")),
        spaces.create("plainnet"),
    ),
    "tables": (tables.LookupTable.build(TOY, "macs"), tables.LookupTable.build(TOY, "params")),
    "images": tuple(data.classification("digits", split, image_size=8, size=40) for split in ("train", "val")),
    "detection data": (digits(), digits(seed=1), digits(difficulty=0.3)),
}


UNCOPIED = {"closures", "cached", "modules of one's own", "hooks and marks of tensors", "views of memory"}


@pytest.mark.parametrize("kind", DIFFERENT)
def test_what_differs_has_another_identity(kind):
    found = [identity(value) for value in DIFFERENT[kind]]
    assert len(set(found)) == len(found) and all(len(digest) >= 16 for digest in found)
    assert [identity(value) for value in DIFFERENT[kind]] == found, "asked again"


@pytest.mark.parametrize("kind", [kind for kind in DIFFERENT if kind not in UNCOPIED])
def test_a_copy_has_the_same_identity(kind):
    for value in DIFFERENT[kind]:
        assert identity(copy.deepcopy(value)) == identity(value)


def test_what_changes_no_number_changes_no_identity():
    plain = compiled("def f(x):\n    return g(x) + 1", g=closing_over(1))
    moved = compiled("\n\n\ndef other(x):\n    # why\n    return (g(x)\n            + 1)", "other", g=closing_over(1))
    assert identity(plain) == identity(moved)
    assert identity({"a": 1, "b": 2}) == identity({"b": 2, "a": 1}) and identity((1, 2)) == identity([1, 2])
    assert identity(np.float64(0.5)) == identity(0.5)
    assert identity(torch.device("cuda:0")) == identity(torch.device("cuda:1"))
    frame = pd.DataFrame({"a": [1.0, 2.0]})
    assert identity(frame.assign(b=3.0).assign(c=4.0)) == identity(pd.DataFrame({"a": [1.0, 2.0], "b": 3.0, "c": 4.0}))
    unused = compiled("def f(x):\n    return x.a", a=[], bar=threading.Lock())  # an attribute's name is no global
    assert identity(unused) == identity(compiled("def f(x):\n    return x.a", a=1))
    images = digits()
    before = identity(images)
    images[0]
    assert identity(images) == before
    table = tables.LookupTable.build(TOY, "macs")
    before = identity(table, TOY)
    table.expected([0] * 6)
    assert identity(table, TOY) == before


def test_what_holds_itself_is_read_once():
    ring = [1]
    ring.append(ring)
    other = [2]
    other.append(other)
    assert identity(ring) == identity(ring) != identity(other)
    recursive = compiled("def f(n):\n    return n * f(n - 1) if n else 1")
    assert identity(recursive) != identity(compiled("def f(n):\n    return n + f(n - 1) if n else 1"))
    wide = [0]
    for _ in range(60):
        wide = [wide, wide]  # 2 ** 60 ways through it
    assert identity(wide)


class Owned:
    def __init__(self, calls):
        self.calls = calls

    @property
    def identity(self):
        return ["owned", long(1)]


def test_an_object_may_say_what_it_is():
    assert identity(Owned([])) == identity(Owned([1, threading.Lock()]))

    def f(x):
        return lock, x

    lock = threading.Lock()
    f.identity = "mine"
    assert identity(f) == identity(f)


UNTOLD = [threading.Lock(), (i for i in ()), threading.Thread(), sys.stdout, {"a": [threading.RLock()]}]
UNTOLD += [np.frompyfunc(closing_over(1), 1, 1), ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 1)]


@pytest.mark.parametrize("value", UNTOLD)
def test_what_nobody_can_tell_is_refused_in_a_sentence(value):
    for held in (value, [value], closing_over(value), compiled("f = lambda: bar", bar=value), Scale(value)):
        with pytest.raises(ParameterError, match="nobody can tell") as error:
            identity("settings", held)
        assert len(str(error.value)) < 300


def test_the_sentence_names_the_place():
    lock = threading.Lock()
    with pytest.raises(ParameterError, match="`bar` of f holds a lock"):
        identity(compiled("def f():\n    return bar", bar=lock))
    with pytest.raises(ParameterError, match="`factor` of a Scale holds a lock"):
        identity(Scale(lock))
    with pytest.raises(ParameterError, match=r"`value` of closing_over\.<lambda> holds a lock"):
        identity(closing_over(lock))


def test_modules_of_ones_own_count_by_what_is_used_of_them(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_helpers.py").write_text("def used(x):\n    return other(x)\n\ndef other(x):\n    return x\n")
    import my_helpers

    f = compiled("f = lambda x: my_helpers.used(x)", my_helpers=my_helpers)
    before = identity(f)
    my_helpers.unused = 3
    assert identity(f) == before
    my_helpers.other = closing_over(1)
    assert identity(f) != before


def test_a_module_of_ones_own_may_have_the_name_of_pythons(tmp_path):
    script = "import profile\nfrom nasedu.storage import identity\nprint(identity(lambda x: profile.score(x)))"
    found = set()
    for body in ("x", "-x", "-x"):
        (tmp_path / "profile.py").write_text(f"def score(x):\n    return {body}\n")
        command = [sys.executable, "-B", "-c", script]
        found.add(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout)
    assert len(found) == 2


def test_hooks_of_all_modules_count():
    before = identity(network())
    with nn.modules.module.register_module_forward_hook(lambda m, x, y: y + 1):
        first = identity(network())
    with nn.modules.module.register_module_forward_hook(lambda m, x, y: y + 2):
        second = identity(network())
    assert len({before, first, second}) == 3 and identity(network()) == before


def test_what_a_space_of_ones_own_holds_counts(toy):
    space = toy([3, 2])
    before = identity(space)
    space.group_names, space.size  # noqa: B018  what is kept once it was asked for
    assert identity(space) == before
    space.bias = 2
    assert identity(space) != before


def test_a_notebooks_parameters_count_and_nothing_else_of_it():
    from nasedu.course.setup import Config

    def config(seed=0, **more):
        return Config(parameters={"seed": seed, "out_dir": None}, seed=seed, **more)

    def evaluate(cfg):
        return compiled("f = lambda x: x + cfg.seed", cfg=cfg)

    first, again = config(started=1.0, out_dir=Path("a")), config(started=2.0, out_dir=Path("b"))
    assert identity(evaluate(first)) == identity(evaluate(again)) != identity(evaluate(config(1, started=1.0)))


def test_files_count_by_their_content(tmp_path):
    from nasedu.data.dataset import DetectionDataset, Sample, make_boxes

    path = tmp_path / "a.jpg"
    sample = Sample(str(path), 0, make_boxes([[0, 0, 9, 9]], (64, 64)), torch.tensor([0]), torch.tensor([False]))
    made = DetectionDataset("mine", "train", ["a"], [sample], lambda i: torch.zeros(3, 64, 64), image_size=64)
    found = set()
    for content in (b"a" * 9000, b"b" + b"a" * 8999, b"a" * 8999 + b"b", b"a" * 9001):
        path.write_bytes(content)
        found.add(identity(made))
    assert len(found) == 4
    path.write_bytes(b"a" * 9000)
    assert identity(made) in found
    other = DetectionDataset("mine", "train", ["a"], [sample], lambda i: torch.ones(3, 64, 64), image_size=64)
    assert identity(other) not in found, "the same files, read otherwise"
    decoded = DetectionDataset("mine", "train", ["a"], [sample], torch.ones(1, 3, 64, 64).__getitem__, image_size=64)
    assert identity(decoded) not in found | {identity(other)}


SCRIPT = """
import numpy as np, torch
from torch import nn
from nasedu import spaces
from nasedu.task import Classification
from nasedu.data import classification
from nasedu.storage import identity
words = {"b", "a", "c", "zz", "y"}
def f(x, y={"p", "q", "r"}):
    return x in {"one", "two", "three", "four"} and words and helper(x)
class Helper(nn.Module):
    kinds = {"u", "v", "w"}
    def forward(self, x):
        return helper(x)
def helper(x):
    return [f, torch.relu(x), np.sin(1)]
torch.manual_seed(0)
module = nn.Sequential(nn.Linear(2, 2), Helper())
module[0].register_forward_hook(helper)
images = classification("digits", "val", image_size=8, size=20)
print(identity(f, Helper, module, spaces.create("nasbench201"), Classification(images)))
"""


def test_other_processes_find_the_same(tmp_path):
    found = {
        subprocess.run(
            [sys.executable, "-c", "\n" * lines + SCRIPT], capture_output=True, text=True, check=True, env=env
        ).stdout
        for lines, env in ((0, seeded("1")), (5, seeded("2")))
    }
    assert len(found) == 1 and len(found.pop()) == 33


def seeded(seed):
    import os

    return os.environ | {"PYTHONHASHSEED": seed}
