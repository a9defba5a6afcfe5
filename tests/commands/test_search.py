"""`nasedu search`: every space with every sampler and every strategy, at the smallest size; its files and sentences."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pandas as pd
import pytest
import torch

from nasedu import sampling, search, spaces
from nasedu.__main__ import main, parser
from nasedu.commands import searching
from nasedu.errors import ParameterError
from nasedu.progress import silent
from nasedu.search.gradient import GradientResult
from nasedu.tables import LookupTable

TINY = {  # what makes a space as small as it goes
    "proxylessnas:course": ["width=0.1", "depth=0.1", "input_size=16"],
    "fbnet:course": ["width=0.1", "depth=0.1", "input_size=16"],
    "spos:course": ["depth=0.1", "input_size=16"],
    "single_path:course": ["width=0.1", "depth=0.1", "input_size=16"],
    "nasbench201:course": ["width=0.25", "depth=0.1", "input_size=16"],
    "fairnas:course": ["width=0.1", "depth=0.1", "input_size=16"],
    "resnet48:course": ["input_size=16"],
    "yolo:course": ["image_size=32"],
}
SMALL = ["--epochs", "1", "--batch-size", "4", "--images", "size=8", "--images", "val_size=4", "--device", "cpu"]


def command(space, *more):
    options = [part for text in TINY.get(space, []) for part in ("-p", text)]
    return ["search", "--space", space, *options, *SMALL, *more]


def test_the_matrix_is_whole():
    assert {name.partition(":")[0] for name in TINY} == set(spaces.names())


@pytest.fixture(scope="module")
def counted():
    """A table of MACs is made once for each space: four samplers and a strategy ask for it."""
    made, build = {}, LookupTable.build

    def known(space, metric, **options):
        key = space.fingerprint, metric, str(options)
        if key not in made:
            made[key] = build(space, metric, **options)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LookupTable, "build", known)
        yield


@pytest.mark.parametrize("sampler", sampling.names())
@pytest.mark.parametrize("space", TINY)
def test_every_space_with_every_sampler_and_every_strategy(counted, space, sampler):
    """One supernet for all strategies; what each finds is an architecture, with the score that its judge gives it."""
    args = parser().parse_args(command(space, "--sampler", sampler, "--budget", "2"))
    with searching.prepared(args, searching.space_of(args), torch.device("cpu")) as hunt:
        every_strategy_finds(args, hunt)


def every_strategy_finds(args, hunt):
    for name in searching.STRATEGIES:
        args.strategy = name
        if name == "exhaustive":
            with pytest.raises(ParameterError, match="asks for all"):
                searching.settings_of(args, hunt.space)
            continue
        found = searching.searched(args, hunt, searching.settings_of(args, hunt.space), None, silent)
        assert hunt.space.validate(found.best) == found.best and math.isfinite(found.score)
        judge = hunt.evaluate
        if isinstance(found, GradientResult):
            judge = search.SupernetScore(hunt.space, found.supernet, hunt.task, "logits", calibrate="weights")
        assert found.score == judge(found.best), name


@pytest.mark.parametrize(
    ("space", "sampler", "strategy"),
    [("fbnet:course", "fair", "evolution"), ("yolo:course", "uniform", "gumbel"), ("spos:course", "gates", "local")],
)
def test_a_command_leaves_what_it_found_and_goes_on(tmp_path, capsys, space, sampler, strategy):
    out = tmp_path / "run"
    asked = command(space, "--sampler", sampler, "--strategy", strategy, "--budget", "3", "--out", str(out))
    assert main(asked) == 0
    told, text = json.loads((out / "result.json").read_text()), (out / "architecture.txt").read_text()
    built = spaces.create(space, **_options(space))
    best = built.parse(text)
    assert built.format(best).strip() == text.strip() == told["architecture"].strip()
    assert [told[k] for k in ("sampler", "strategy", "seed")] == [sampler, strategy, 0]
    history = pd.read_csv(out / "history.csv")
    assert len(history) == told["steps"] == (1 if strategy == "gumbel" else 3)
    assert strategy == "gumbel" or told["score"] == history.score.max()
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.state")}
    capsys.readouterr()
    assert main(asked) == 0
    again = json.loads((out / "result.json").read_text())
    assert {k: v for k, v in again.items() if k != "seconds"} == {k: v for k, v in told.items() if k != "seconds"}
    assert before == {path.name: path.stat().st_mtime_ns for path in out.glob("*.state")}, "nothing was done twice"
    assert "afresh" not in capsys.readouterr().out


def test_one_process_leads_a_search(tmp_path, monkeypatch, capsys):
    """Two that write into one folder would leave a state that nobody can read."""
    asked = command("nasbench201:course", "--strategy", "random", "--budget", "2", "--out", str(tmp_path))
    holds = "import pathlib, sys; from nasedu.course.folder import claim\nwith claim(pathlib.Path(sys.argv[1]), 'run'):"
    other = subprocess.Popen(
        [sys.executable, "-c", f"{holds} print(1, flush=True); input()", str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout.readline()
    assert main(asked) == 2 and str(tmp_path) in capsys.readouterr().err
    other.communicate(b"\n")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(asked) == 2 and "without torchrun" in capsys.readouterr().err


def _options(space):
    return {name: json.loads(value) for name, value in (pair.split("=") for pair in TINY[space])}


def test_workers_find_what_one_process_finds(tmp_path):
    scores = []
    for more in ([], ["--workers", "2", "--patience", "100", "-p", "strategy.together=2"]):
        out = tmp_path / str(len(more))
        asked = command("nasbench201:course", "--strategy", "random", "--budget", "4", "--out", str(out), *more)
        assert main(asked) == 0
        scores.append(pd.read_csv(out / "history.csv").score.tolist())
    assert scores[0] == scores[1] and len(scores[0]) == 4


def test_an_exhaustive_search_asks_for_all(tmp_path):
    options = ["-p", "space.operations=[none, skip_connect]", "--strategy", "exhaustive", "--out", str(tmp_path)]
    assert main(command("nasbench201:course", *options, "--budget", "64")) == 0
    history = pd.read_csv(tmp_path / "history.csv")
    assert len(history) == history.arch.nunique() == 64


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--space", "plainnet"], "search.zero_shot"),
        (["--space", "fbnet:coarse"], "did you mean 'course'"),
        (["--space", "fbnet:course", "--sampler", "unifrom"], "did you mean 'uniform'"),
        (["--space", "fbnet:course", "--strategy", "evolutoin"], "did you mean 'evolution'"),
        (["--space", "fbnet:course", "--epochs", "0"], "--epochs"),
        (["--space", "fbnet:course", "--budget", "-1"], "--budget"),
        (["--space", "fbnet:course", "--seed", "-1"], "--seed"),
        (["--space", "fbnet:course", "--patience", "0"], "patience"),
        (["--space", "fbnet:course", "--images", "sise=3"], "did you mean 'size'"),
        (["--space", "fbnet:course", "-p", "strategy.childen=3"], "did you mean 'children'"),
        (["--space", "fbnet:course", "-p", "strategy.costs=3"], "option of the strategy evolution"),
        (["--space", "fbnet:course", "--strategy", "gates", "-p", "strategy.epochs=0"], "epochs of a gradient search"),
        (["--space", "fbnet:course", "--strategy", "softmax", "--workers", "2"], "takes no --workers"),
        (["--space", "fbnet:course", "--strategy", "exhaustive"], "beyond 20,000"),
        (["--space", "fbnet:course", "--dataset", "digit"], "did you mean 'digits'"),
        (["--space", "fbnet:course", "-p", "widht=1"], "did you mean 'width'"),
        (["--space", "fbnet:course", "-p", "smapler.n=2"], "did you mean 'sampler'"),
        (["--space", "fbnet:course", "-p", "width=1", "-p", "space.width=1"], "given twice"),
        (["--space", "fbnet:course", "-p", "sampler.m=2"], "option of uniform"),
        (["--space", "fbnet:course", "-p", "training.lrr=2"], "did you mean 'lr'"),
        (["--space", "fbnet:course", "-p", "num_classes=7"], "the images of digits 10"),
        (["--space", "fbnet:course", "--workers", "2", "--cluster", "tcp://localhost:1"], "give one of them"),
        (["--space", "fbnet:course", "--device", "gpu"], "no device 'gpu'"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    assert main(["search", "--images", "size=8", *arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert told in line and len(line) < 320
    assert list(tmp_path.iterdir()) == []
