"""The same seed gives the same architecture twice, and so does a run killed with SIGKILL in any phase."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

# A whole pipeline, small enough to take seconds: warm-up, search with refreshed maps, derivation, training.
SCRIPT = textwrap.dedent(
    """
    import os, sys
    from pathlib import Path
    import torch
    from nasedu import data, spaces, tables, wzdnas
    from nasedu.tables import derive
    from nasedu.task import fit

    torch.set_num_threads(1)
    folder, kill_phase, kill_at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    calls = {"warm-up": 0, "search": 0, "train": 0}

    def killer(phase):
        def progress(*_):
            calls[phase] += 1
            if phase == kill_phase and calls[phase] == kill_at:
                os.kill(os.getpid(), 9)
        return progress

    train = data.detection("digits", "train", size=8, image_size=64)
    space = spaces.create("yolo", image_size=64)
    config = wzdnas.recipe("short", epochs=4, flip=False, batch_size=4, save_seconds=0)
    task = wzdnas.detection_task(space, config, train)
    supernet = space.supernet(seed=0)
    wzdnas.warm_up(space, supernet, task, config.training, state=folder / "warmup.pt", progress=killer("warm-up"))
    priced = wzdnas.cost_tables(space)
    target = wzdnas.read_goal("30%", priced).value
    images = torch.stack([train[i][0] / 255 for i in range(4)])
    descent, _ = wzdnas.search(
        space, supernet, images, priced, wzdnas.WZDNASConfig(target=target, steps=300, every=100),
        state=folder / "search.pt", progress=killer("search"),
    )
    arch = derive(descent.path(), priced["flops"], target).arch
    network = space.build(arch, seed=0)
    trained = fit(network, task, config.training, state=folder / "train.pt", progress=killer("train"))
    print(arch, descent.theta.double().sum().item(), trained.history[-1]["total"], dict(calls))
    """
)


def run(folder, phase="never", at=0):
    command = [sys.executable, "-c", SCRIPT, str(folder), phase, str(at)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return done.returncode, done.stdout.split(" {")[0], done.stdout + done.stderr


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    status, result, log = run(tmp_path_factory.mktemp("whole"))
    assert status == 0, log
    return result


def test_the_same_seed_gives_the_same_architecture_twice(whole, tmp_path):
    assert run(tmp_path)[1] == whole != ""


@pytest.mark.parametrize(("phase", "at"), [("warm-up", 2), ("search", 2), ("train", 3)])
def test_sigkill_in_any_phase_changes_nothing(whole, tmp_path, phase, at):
    status, _, log = run(tmp_path, phase, at)
    assert status == -signal.SIGKILL, log
    status, result, log = run(tmp_path)
    assert status == 0 and result == whole, log
    assert f"'{phase}': {4 - at if phase != 'search' else 3 - at}" in log  # it went on, rather than start again
