"""Several processes train what one alone does, end together when one is lost, and go on in another number."""

from __future__ import annotations

import copy
import importlib.util
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nasedu import processes
from nasedu.errors import ParameterError, UnknownName
from nasedu.processes import Processes, divided
from nasedu.task import fit
from nasedu.training.sync_norm import SyncNorm

PROGRAM = Path(__file__).with_name("several.py")
_spec = importlib.util.spec_from_file_location("several", PROGRAM)
several = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(several)
LIKE_ONE = ("classifier", "detector", "published_loss", "supernet", "search", "resumed")
DRAWN = ("drawn_same", "drawn_different")
SENTENCES = ("other_seeds", "uneven", "own_task", "elsewhere")
REST = ("own_bn", "different", "fresh", "gradients", "logged")
LIMIT = 800  # seconds for a program that takes some 30 on a calm machine


def launched(number, folder, *jobs):
    """What each process of `torchrun` found."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={number}"]
    done = subprocess.run(
        [*command, PROGRAM, folder, *jobs],
        env=os.environ | {"NASEDU_PATIENCE": "200"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(path.read_text()) for path in sorted(folder.glob("[0-9]-0.json"))]


class Killed(Exception):
    pass


def killed(folder, name):
    """A checkpoint of the classifier after its first epoch."""

    def stop(done, total, note=""):
        if done == 1:
            raise Killed

    with pytest.raises(Killed):
        several.classifier(folder / name, stop)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """{job: what each of two processes found}."""
    folder = tmp_path_factory.mktemp("two")
    killed(folder, "resumed.pt")
    killed(folder, "elsewhere.0")
    ranks = launched(2, folder, *LIKE_ONE, *DRAWN, *SENTENCES, *REST)
    return {job: [rank[job] for rank in ranks] for job in ranks[0]} | {"folder": folder}


def close(ours, theirs, most):
    for a, b in zip(ours, theirs, strict=True):
        assert a.keys() == b.keys()
        for name in a.keys() - {"probabilities", "arch", "budget"}:
            assert math.isclose(a[name], b[name], rel_tol=most, abs_tol=most), f"{name}: {a[name]} and {b[name]}"


@pytest.mark.parametrize("job", LIKE_ONE)
def test_two_processes_have_the_loss_curve_of_one(job, found, tmp_path):
    """At the same batches, with the batch's own statistics: losses, weights and averages, also from a checkpoint on."""
    first, second = found[job]
    alone = several.run(tmp_path, job)
    close(first["history"], alone["history"], 1e-5)
    for name in first.keys() - {"history", "heard"}:
        assert first[name] == second[name]
        np.testing.assert_allclose(first[name], alone[name], rtol=0, atol=1e-4)
    assert first["history"] == second["history"] and not second["heard"]
    assert first["heard"] == (alone["heard"][1:] if job == "resumed" else alone["heard"]) != []


def test_the_first_process_starts_them_all_and_draws_what_one_alone_would(found):
    assert found["fresh"][0]["history"] == found["fresh"][1]["history"] == found["classifier"][0]["history"]
    same, different = ([rank["history"][0]["drawn"] for rank in found[job]] for job in DRAWN)
    assert same[0] == same[1] == different[0] != different[1]


@pytest.mark.parametrize("job", ["own_bn", "different"])
def test_weights_and_statistics_are_the_same_where_parts_are_not_treated_alike(job, found):
    first, second = found[job]
    of_the_batch = found["classifier" if job == "own_bn" else "supernet"][0]
    assert first["model"] == second["model"] and first["ema"] == second["ema"]
    assert first["history"] == second["history"] != of_the_batch["history"]


def test_a_parameter_that_no_process_has_a_gradient_of_has_none(found):
    assert all(rank["grads"] == [[2, 2], [2, 2], None] for rank in found["gradients"])


def test_the_first_process_alone_writes_the_log(found):
    log = (found["folder"] / "log/training.log").read_text()
    assert log.count("begins") == 1 and log.count("epoch 3 of 3") == 1


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ("other_seeds", "does not have the same model, config and seed as another one"),
        ("uneven", "a batch of 5 makes no 2 equal parts"),
        ("own_task", "a task needs a method part"),
        ("elsewhere", "does not have the same checkpoint as another one"),
    ],
)
def test_what_cannot_be_shared_is_one_sentence(job, said, found):
    assert all(said in rank["error"] and len(rank["error"]) < 300 for rank in found[job])


def started(folder, number=2, **more):
    """Processes that train without end, as a program starts them that is not torchrun."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(number), **more}
    ranks = [os.environ | shared | {"RANK": str(r), "LOCAL_RANK": str(r)} for r in range(number)]
    command = [sys.executable, PROGRAM, folder, "stopped"]
    return [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for env in ranks]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "silent"])
def test_a_lost_process_ends_the_others_with_a_sentence_and_the_training_goes_on(how, tmp_path):
    """At once where it ended: long before the others' patience is at an end."""
    ranks = started(tmp_path, NASEDU_PATIENCE="10" if how == signal.SIGSTOP else str(10 * LIMIT))
    try:
        while not (tmp_path / "stopped.pt").exists():  # as long as it takes: pytest has a limit
            assert ranks[0].poll() is None, ranks[0].communicate()[0]
            time.sleep(0.1)
        ranks[1].send_signal(how)
        lost = time.time()
        ranks[0].wait(LIMIT)
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    print(f"told after {(tmp_path / '0-0.json').stat().st_mtime - lost:.1f} s, ended after {time.time() - lost:.1f} s")
    outcome = json.loads((tmp_path / "0-0.json").read_text())
    assert outcome["stopped"]["error"].startswith("ProcessLost: process 0 of 2 has lost another one")
    seen = []

    def stop(done, total, note=""):
        seen.append(done)
        raise Killed

    with pytest.raises(Killed):  # alone, from there on
        several.stopped(tmp_path / "stopped.pt", stop)
    assert seen[0] > 1


def of(rank, number):
    """A process as it would be among others, without them."""
    team = Processes()
    team.rank, team.number = rank, number
    return team


def test_a_batch_is_divided_into_all_of_its_samples():
    x, y = torch.arange(12).view(6, 2), torch.arange(6)
    parts = [divided((x, y), rank, 3) for rank in range(3)]
    assert sorted(torch.cat([y for _, y in parts]).tolist()) == list(range(6))
    assert all(torch.equal(own, x[labels]) for own, labels in parts)
    assert divided(y, 1, 2).tolist() == [1, 3, 5]
    for wrong in ((x, y[:4]), (x, 3), torch.tensor(1.0), ()):
        with pytest.raises(ParameterError, match="tensors of one length"):
            divided(wrong, 0, 2)
    with pytest.raises(ParameterError, match="a batch of 6 makes no 4 equal parts"):
        divided(y, 0, 4)


def test_targets_follow_their_images():
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    targets = torch.tensor([[i, 7, i, i, i, i] for i in (0, 3, 3, 1, 0)]).float()
    found = []
    for rank in range(2):
        own, objects = several.wzdnas.detector.Detection(None, None).part((images, targets), rank, 2)
        assert len(own) == 2
        found += [(float(own[int(image), 0, 0, 0]), box) for image, _, box, *_ in objects.tolist()]
    assert sorted(found) == [(0, 0), (0, 0), (1, 1), (3, 3), (3, 3)]


def test_a_process_alone_is_left_as_it_is():
    team, values = processes.current(), torch.ones(2)
    assert team.number == 1 and team.mean(values) is values
    batches = iter([])
    assert processes.parts(lambda epoch: batches, 0, team) is batches


def test_normalisation_is_pytorchs_own():
    """Of one process: outputs, gradients and running statistics; outside of training, and without statistics."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.BatchNorm2d(3, momentum=0.3), nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, affine=False)).double()
    ours, x = copy.deepcopy(plain), torch.randn(5, 3, 4, 4, dtype=torch.float64) * 3 + 2
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    expected = plain(inputs[0]).sin()
    with SyncNorm(Processes()):
        got = ours(inputs[1]).sin()
        with torch.no_grad():
            torch.testing.assert_close(F.batch_norm(x, None, None, training=True), nn.BatchNorm2d(3).double()(x))
    expected.sum().backward()
    got.sum().backward()
    pairs = [(expected, got), (inputs[0].grad, inputs[1].grad)]
    pairs += zip([*plain.parameters(), *plain.buffers()], [*ours.parameters(), *ours.buffers()], strict=True)
    pairs += [(a.grad, b.grad) for a, b in zip(plain.parameters(), ours.parameters(), strict=True)]
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    with SyncNorm(Processes()):
        assert torch.equal(ours.eval()(x), plain.eval()(x)) or torch.allclose(ours(x), plain(x), atol=1e-9)


@pytest.mark.parametrize(("name", "value"), [("WORLD_SIZE", "two"), ("WORLD_SIZE", "0"), ("NASEDU_PATIENCE", "long")])
def test_a_bad_environment_is_one_sentence(name, value, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv(name, value)
    with pytest.raises(ParameterError, match=f"{name}.* must be a whole number"):
        fit(several.network(), several.digits(8), several.SGD)


def test_what_a_process_starts_itself_is_alone(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(processes.multiprocessing, "parent_process", lambda: True)
    assert processes.together("cpu").number == 1


def test_different_paths_cannot_share_statistics():
    with pytest.raises(ParameterError, match="sync_bn needs paths='same'"):
        several.replace(several.SGD, sync_bn=True, paths="different")
    with pytest.raises(ParameterError, match="sync_bn of a training must be true or false, got 'no'"):
        several.replace(several.SGD, sync_bn="no")
    with pytest.raises(UnknownName, match="did you mean 'different'"):
        several.replace(several.SGD, paths="diferent")
    with pytest.raises(UnknownName, match="paths of a gradient search"):
        several.GradientConfig(training=several.replace(several.SGD, paths="different"))
