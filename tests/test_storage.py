"""States: damage is one sentence and never another result, and what is left behind is swept up."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nasedu import spaces
from nasedu.errors import CheckpointError, OutputError, ParameterError
from nasedu.files import HOST, content_hash, write_atomically
from nasedu.proxies import score_pool
from nasedu.search import DescentConfig, descend
from nasedu.storage import load_state, save_state
from nasedu.tables import Budget
from nasedu.training import TrainingConfig, train

STATE = {"weights": torch.arange(300.0), "history": [{"loss": 0.5, "arch": (1, 2)}] * 20, "step": 3}


def batches(epoch):
    generator = torch.Generator().manual_seed(epoch)
    return [torch.randn(4, 3, generator=generator) for _ in range(2)]


def squared(model, batch, generator):
    return {"total": model(batch).square().mean()}


def weigh(arch):
    return float(sum((i % 3 - 1) * c for i, c in enumerate(arch)))


CELLS = {"operations": ["none", "skip_connect", "nor_conv_3x3"], "input_size": 8, "width": 0.25, "depth": 0.2}


def stored(kind, folder, toy, priced):
    """A state file of a kind, and what reads it again."""
    path = folder / f"{kind}.pt"
    space = toy([3] * 4)
    budget = Budget([(priced(space), 1.0, "squared")])
    if kind == "training":

        def again():
            torch.manual_seed(0)
            return train(torch.nn.Linear(3, 1), batches, squared, TrainingConfig(epochs=2), state=path)

    elif kind == "pool":
        cells = spaces.create("nasbench201", **CELLS)
        images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))

        def again():
            return score_pool(cells, [(2,) * 6], images, ["l2_norm"], state=path)

    else:
        budget, quick = Budget([(priced(space), 110.0, "squared")]), DescentConfig(steps=100, every=50)

        def again():
            return descend(budget, quick, state=path)

    again()
    return path, again


@pytest.mark.parametrize("kind", ["training", "descent", "pool"])
def test_no_damage_of_any_state_gives_another_result(kind, toy, priced, tmp_path, capsys):
    path, again = stored(kind, tmp_path, toy, priced)
    whole, draw = path.read_bytes(), random.Random(kind)
    assert load_state(path, "another") is None and "afresh" in capsys.readouterr().out
    flips = [draw.randrange(8 * len(whole)) for _ in range(100)]
    cuts = [0, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(98))]
    damaged = [flipped(whole, bit) for bit in flips] + [whole[:cut] for cut in cuts] + [whole + b"\0"]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="cut short or is no state") as error:
            load_state(path, "another")
        assert len(str(error.value).replace(str(path), "")) < 250
    path.write_bytes(damaged[0])
    with pytest.raises(CheckpointError, match=f"{kind}.pt cannot be read .*delete it"):
        again()
    path.write_bytes(whole)
    again()
    assert path.read_bytes() == whole, "nothing was done again"


def flipped(content, bit):
    return content[: bit // 8] + bytes([content[bit // 8] ^ (1 << bit % 8)]) + content[bit // 8 + 1 :]


def test_a_state_comes_back_as_it_was_to_its_owner_alone(tmp_path, capsys):
    save_state(tmp_path / "s.pt", STATE, "mine")
    found = load_state(tmp_path / "s.pt", "mine")
    assert torch.equal(found.pop("weights"), STATE["weights"]) and found == {k: STATE[k] for k in ("history", "step")}
    assert capsys.readouterr().out == "" and load_state(tmp_path / "none.pt", "mine") is None
    assert load_state(tmp_path / "s.pt", "yours") is None
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"\n", b"no state\nat all", b"\x80\x02}q\x00."])
def test_what_is_no_state_is_a_sentence(content, tmp_path):
    (tmp_path / "s.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"s\.pt cannot be read"):
        load_state(tmp_path / "s.pt", "mine")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_state(tmp_path, "mine")


KILLED = """
import os, signal, sys
from nasedu.files import write_atomically
os.fsync = lambda _: (print("writing", flush=True), sys.stdin.read(1), os.kill(os.getpid(), signal.SIGKILL))
write_atomically(sys.argv[1], b"half")
"""


def test_what_a_killed_write_left_behind_is_swept_up_and_nothing_else(tmp_path):
    path = tmp_path / "s.pt"
    names = (".s.pt.settings", ".s.pt.12", ".s", ".other.pt.1.abcdefgh")
    written = [
        f".s.pt.{HOST}1.abcdefgh",
        ".s.pt.another-machine.999999.abcdefgh",
    ]
    others = [tmp_path / name for name in (*names, *written)]  # the last two by processes that live, for all we know
    for other in others:
        other.write_text("")
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "writing\n"
        left = set(tmp_path.iterdir()) - set(others)
        write_atomically(path, b"whole")
        assert len(left) == 1 and left < set(tmp_path.iterdir()), "its writer lives"
        writer.stdin.write("x")
        writer.stdin.close()
        assert writer.wait() == -signal.SIGKILL
    assert left < set(tmp_path.iterdir())
    write_atomically(path, b"whole again")
    assert set(tmp_path.iterdir()) == {path, *others} and path.read_bytes() == b"whole again"


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    write_atomically(tmp_path / "s.pt", "old")
    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "s.pt", "new")
    assert [file.name for file in tmp_path.iterdir()] == ["s.pt"] and (tmp_path / "s.pt").read_text() == "old"
    with pytest.raises(OutputError, match="cannot write to"):
        write_atomically(tmp_path / "s.pt" / "inside", "text")


def test_content_hashes_are_of_json_alone():
    assert content_hash({"a": (1, 2)}) == content_hash({"a": [1, 2]}) != content_hash({"a": [2, 1]})
    for value in (torch.zeros(2000), Path("a"), object()):
        with pytest.raises(ParameterError, match="only what JSON can hold"):
            content_hash({"value": value})
