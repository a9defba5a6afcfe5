"""A file of strings is ranked line by line: killed, shared and merged, with weights of any wrapping."""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import torch

from nasedu import __main__ as cli
from nasedu import spaces
from nasedu.classification import recipe
from nasedu.data import classification
from nasedu.deploy import submission
from nasedu.errors import ArchitectureError, CheckpointError, DataError, OutputError, ParameterError, ProxyError
from nasedu.sampling import Uniform, supernet_step
from nasedu.storage import load_weights, read_weights
from nasedu.task import Classification, fit

SPACE = {"width": 0.0625, "depth": 0.2, "input_size": 16}


@pytest.fixture(scope="module")
def space():
    return spaces.create("resnet48:course", **SPACE)


@pytest.fixture
def file(space, tmp_path):
    """Twelve strings, of which one occurs twice."""
    rng = np.random.default_rng(0)
    texts = [space.format(space.sample(rng)) for _ in range(11)]
    entries = {f"arch{i}": {"acc": 0.0, "arch": text} for i, text in enumerate([*texts, texts[3]], 1)}
    (tmp_path / "test.json").write_text(json.dumps(entries))
    return tmp_path / "test.json"


class Digits:
    """The sum of an architecture's choices; fails after so many calls."""

    def __init__(self, calls=10**9):
        self.left = calls

    identity = "digits"

    def __call__(self, arch):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return sum(arch) / 100


def test_a_ranking_that_was_killed_goes_on_and_ends_the_same(space, file, tmp_path):
    whole, state = submission.rank(file, space, Digits(), state=tmp_path / "whole.txt"), tmp_path / "part.txt"
    for calls in (4, 3):
        with pytest.raises(KeyboardInterrupt):
            submission.rank(file, space, Digits(calls), state=state)
        state.write_text(state.read_text()[:-7])  # the kill cut the last line short
    last = Digits()
    assert submission.rank(file, space, last, state=state) == whole
    assert 10**9 - last.left == 11 - (4 - 1) - (3 - 1)  # distinct strings less whole lines
    assert sorted(state.read_text().splitlines()) == sorted((tmp_path / "whole.txt").read_text().splitlines())
    assert whole["arch12"] == whole["arch4"]


def test_strings_of_several_lines_are_kept_and_merged(tmp_path):
    """As those of most spaces are."""
    fbnet, rng = spaces.create("fbnet:course"), np.random.default_rng(0)
    entries = {f"a{i}": {"arch": fbnet.format(fbnet.sample(rng)) + " " * i} for i in range(3)}
    (tmp_path / "fbnet.json").write_text(json.dumps(entries))
    first, state = Digits(), tmp_path / "state.txt"
    found = submission.rank(tmp_path / "fbnet.json", fbnet, first, state=state)
    again = Digits()
    assert submission.rank(tmp_path / "fbnet.json", fbnet, again, state=state) == found
    assert (10**9 - first.left, 10**9 - again.left) == (3, 0)
    assert submission.merge(tmp_path / "fbnet.json", [state]) == found


def test_other_weights_start_afresh_and_the_old_scores_are_kept(space, file, tmp_path, capsys):
    other, state = Digits(), tmp_path / "state.txt"
    other.identity = "others"
    submission.rank(file, space, Digits(), state=state)
    before = state.read_text()
    submission.rank(file, space, other, state=state)
    assert "afresh" in capsys.readouterr().out and other.left == 10**9 - 11
    assert (tmp_path / "state.txt.old").read_text() == before != state.read_text()


def test_two_rankings_do_not_share_a_state(space, file, tmp_path):
    """The second would replace the file that the first one writes to."""
    state, told = tmp_path / "state.txt", []

    def second(done, total, note=""):
        with pytest.raises(OutputError, match=r"state\.txt is in use by another ranking"):
            submission.rank(file, space, Digits(), state=state)
        told.append(done)

    first = submission.rank(file, space, Digits(), state=state, progress=second)
    assert told and len(state.read_text().splitlines()) == 1 + len(set(submission.read(file).values())) and first


def test_shares_are_merged(space, file, tmp_path):
    whole = submission.rank(file, space, Digits(), state=tmp_path / "whole.txt")
    states = [tmp_path / f"{i}.txt" for i in range(1, 6)]
    parts = [submission.rank(file, space, Digits(), state=state, share=(i, 5)) for i, state in enumerate(states, 1)]
    assert [len(part) for part in parts] == [2, 2, 2, 2, 4]  # the remainder goes to the last, as in the public code
    assert submission.merge(file, states) == whole == {k: v for part in parts for k, v in part.items()}
    with pytest.raises(DataError, match="networks have no score yet"):
        submission.merge(file, states[:3])
    for share in ((0, 5), (6, 5), (1, 13)):
        with pytest.raises(ParameterError):
            submission.rank(file, space, Digits(), state=tmp_path / "x.txt", share=share)


def total(arch):
    return sum(arch) / 100


def test_workers_find_the_same(space, file, tmp_path):
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        found = submission.rank(file, space, total, state=tmp_path / "pool.txt", executor=pool)
    assert found == submission.rank(file, space, total, state=tmp_path / "alone.txt")


def test_what_is_written_is_what_was_read_with_scores(space, file, tmp_path):
    scores = submission.rank(file, space, Digits(), state=tmp_path / "state.txt")
    submission.write(file, scores, tmp_path / "out.json")
    before, after = json.loads(file.read_text()), json.loads((tmp_path / "out.json").read_text())
    assert list(after) == list(before)
    assert all(after[name] == {"arch": before[name]["arch"], "acc": scores[name]} for name in before)


@pytest.mark.parametrize(
    "text",
    ["", "[", "[]", "{}", '{"a": 1}', '{"a": {"acc": 0}}', '{"a": {"arch": 5}}', '{"a b": {"arch": "1"}}', "[" * 9999],
)
def test_files_that_are_none_end_in_one_sentence(space, tmp_path, text):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(DataError) as told:
        submission.rank(tmp_path / "bad.json", space, total, state=tmp_path / "state.txt")
    assert "\n" not in str(told.value) and len(str(told.value)) < 300
    with pytest.raises(DataError):
        submission.read(tmp_path / "none.json")


def test_strings_and_scores_that_cannot_be_are_told_by_name(space, file, tmp_path):
    (tmp_path / "bad.json").write_text('{"odd": {"arch": "123"}}')
    with pytest.raises(ArchitectureError, match=r"^odd: "):
        submission.rank(tmp_path / "bad.json", space, total, state=tmp_path / "state.txt")
    with pytest.raises(ProxyError, match="arch1 has no finite score"):
        submission.rank(file, space, lambda arch: float("nan"), state=tmp_path / "nan.txt")
    with pytest.raises(ProxyError, match="arch1 cannot be scored: ZeroDivisionError"):
        submission.rank(file, space, lambda arch: 1 / 0, state=tmp_path / "zero.txt")
    assert submission.rank(file, space, lambda arch: np.float32(0.5), state=tmp_path / "f32.txt")["arch1"] == 0.5
    for odd in ("folder", "bytes.bin"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "bytes.bin").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(CheckpointError, match="no state of a ranking"):
            submission.rank(file, space, total, state=tmp_path / odd)
    with pytest.raises(DataError, match="12 networks have no score"):
        submission.write(file, {}, tmp_path / "out.json")
    (tmp_path / "notes.txt").write_text("dear diary\n")
    with pytest.raises(CheckpointError, match="no state of a ranking"):
        submission.rank(file, space, total, state=tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "dear diary\n"


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_weights_are_read_whatever_wrapped_the_model(space, tmp_path, prefix):
    supernet, other = space.supernet(seed=0), space.supernet(seed=1)
    torch.save({f"{prefix}{name}": value for name, value in supernet.state_dict().items()}, tmp_path / "w.pt")
    load_weights(other, tmp_path / "w.pt")
    assert all(
        torch.equal(a, b) for a, b in zip(supernet.state_dict().values(), other.state_dict().values(), strict=True)
    )
    torch.save({"state_dict": supernet.state_dict(), "epoch": 3}, tmp_path / "nested.pt")
    assert read_weights(tmp_path / "nested.pt").keys() == supernet.state_dict().keys()


def test_a_checkpoint_of_a_training_gives_its_averaged_weights_unless_it_was_damaged(space, tmp_path):
    task = Classification(classification("digits", "train", image_size=16, size=32), batch_size=16)
    step = supernet_step(space, Uniform(), task)
    trained = fit(space.supernet(seed=0), task, recipe(1), step, state=tmp_path / "supernet.pt")
    loaded = space.supernet(seed=1)
    load_weights(loaded, tmp_path / "supernet.pt")
    wanted = trained.ema.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in loaded.state_dict().items())
    content = bytearray((tmp_path / "supernet.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "supernet.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="ValueError"):
        read_weights(tmp_path / "supernet.pt")


def test_parts_that_are_called_as_a_wrapper_are_loaded_all_the_same(tmp_path):
    model, other = (
        torch.nn.ModuleDict({"module": torch.nn.Linear(2, 2), "x": torch.nn.Linear(2, 1)}) for _ in range(2)
    )
    torch.save(model.state_dict(), tmp_path / "w.pt")
    load_weights(other, tmp_path / "w.pt")
    assert torch.equal(other["module"].weight, model["module"].weight)


def test_weights_of_another_network_are_refused(space, tmp_path):
    torch.save(spaces.create("fbnet:course").supernet().state_dict(), tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="another network"):
        load_weights(space.supernet(), tmp_path / "other.pt")
    wide = spaces.create("resnet48:course", **SPACE | {"width": 0.125})
    torch.save(wide.supernet().state_dict(), tmp_path / "wide.pt")
    with pytest.raises(CheckpointError, match="has shape"):
        load_weights(space.supernet(), tmp_path / "wide.pt")
    (tmp_path / "noise.pt").write_bytes(b"noise")
    torch.save({"a": 1}, tmp_path / "empty.pt")
    for name in ("noise.pt", "empty.pt", "missing.pt"):
        with pytest.raises(CheckpointError, match="holds no weights"):
            read_weights(tmp_path / name)


def test_the_command_ranks_shares_and_merges(space, file, tmp_path, capsys):
    torch.save(space.supernet(seed=0).state_dict(), tmp_path / "supernet.pt")
    options = [f"-p{name}={value}" for name, value in SPACE.items()]
    given = ["rank", str(file), "--space", "resnet48:course", *options, "--weights", str(tmp_path / "supernet.pt")]
    assert cli.main([*given, "--state", str(tmp_path / "all.txt"), "--out", str(tmp_path / "all.json")]) == 0
    states = [str(tmp_path / f"{i}.txt") for i in (1, 2)]
    for i, state in enumerate(states, 1):
        assert cli.main([*given, "--state", state, "--share", f"{i}/2"]) == 0
    assert cli.main(["rank", str(file), "--merge", *states, "--out", str(tmp_path / "merged.json")]) == 0
    assert (tmp_path / "merged.json").read_text() == (tmp_path / "all.json").read_text()
    for wrong in (["--share", "2"], ["--share", "x/1/4"], ["--images", "distortion=abc"], ["--images", "foo=1"]):
        assert cli.main([*given, "--state", str(tmp_path / "all.txt"), *wrong]) == 2
    assert cli.main(["rank", str(file)]) == 2
    assert "needs --space, --weights and --state" in capsys.readouterr().err
