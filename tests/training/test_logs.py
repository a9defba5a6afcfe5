"""What a training leaves behind: a row an epoch, whatever was killed; a text with all that happened; TensorBoard's."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from nasedu.errors import BackendError, OutputError, TrainingDiverged
from nasedu.training import Log, TrainingConfig, train

CONFIG = TrainingConfig(epochs=4, save_seconds=0, warmup_steps=0)


class Killed(Exception):
    pass


def trained(log, state=None, lr=0.01):
    """A line that learns a sum."""
    torch.manual_seed(0)
    model, x = nn.Linear(3, 1), torch.randn(8, 3)

    def step(model, batch, generator):
        loss = (model(batch) - batch.sum(1, keepdim=True)).square().mean()
        return {"total": loss, "half": loss / 2}

    config = TrainingConfig(**vars(CONFIG) | {"lr": lr})
    return train(model, lambda epoch: [x], step, config, state=state, progress=log).history


def killed_at(epoch):
    def stop(done, total, note=""):
        if done == epoch:
            raise Killed

    return stop


def test_a_table_has_every_epoch_once_also_after_a_kill(tmp_path):
    heard = []
    whole = trained(lambda *said: heard.append(said))
    with pytest.raises(Killed), Log(tmp_path / "run", killed_at(2)) as log:
        trained(log, tmp_path / "s.pt")
    table = tmp_path / "run/training.csv"
    assert len(pd.read_csv(table)) < 3
    table.write_text("epoch,total,half\n1,0,0\n2,0,0\n3,0,0\n")  # an epoch that no checkpoint knows of
    again = []
    with pytest.raises(Killed), Log(tmp_path / "run", killed_at(3)) as log:
        trained(log, tmp_path / "s.pt")
    with Log(tmp_path / "run", lambda *said: again.append(said)) as log:
        trained(log, tmp_path / "s.pt")
    assert pd.read_csv(table, float_precision="round_trip").to_dict("records") == whole
    assert again == heard[3:]


def test_a_text_says_what_happened_and_when(tmp_path):
    with pytest.raises(Killed), Log(tmp_path, killed_at(2)) as log:
        trained(log, tmp_path / "s.pt")
    with Log(tmp_path) as log:
        trained(log, tmp_path / "s.pt")
    with pytest.raises(TrainingDiverged), Log(tmp_path) as log:
        trained(log, lr=1e30)
    lines = (tmp_path / "training.log").read_text().splitlines()
    times, said = ([line.split("  ", 1)[i] for line in lines] for i in range(2))
    assert [line.split(":")[0].split(",")[0] for line in said] == [
        *("begins after epoch 0", "epoch 1 of 4", "epoch 2 of 4", "ended"),
        *("goes on after epoch 2", "epoch 3 of 4", "epoch 4 of 4"),
        *("begins after epoch 0", "epoch 1 of 4", "ended"),
    ]
    assert said[3] == "ended: Killed: interrupted" and "lower the learning rate" in said[-1]
    assert times == sorted(times) and len(times[0]) == len("2026-01-01 00:00:00")


def test_tensorboard_sees_every_epoch_once(tmp_path):
    whole = trained(Log(tmp_path / "other"))
    with pytest.raises(Killed), Log(tmp_path, killed_at(2), tensorboard=True) as log:
        trained(log, tmp_path / "s.pt")
    with Log(tmp_path, tensorboard=True) as log:
        trained(log, tmp_path / "s.pt")
    seen = EventAccumulator(str(tmp_path)).Reload()
    assert sorted(seen.Tags()["scalars"]) == ["half", "total"]
    for name in ("half", "total"):
        events = {event.step: event.value for event in seen.Scalars(name)}
        assert events == pytest.approx({record["epoch"]: record[name] for record in whole}, rel=1e-6)


def test_what_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write to"):
        trained(Log(tmp_path / "file"))
    monkeypatch.setitem(__import__("sys").modules, "tensorboard", None)
    with pytest.raises(BackendError, match=r"nasedu\[training\]"):
        Log(tmp_path, tensorboard=True)


def test_a_log_that_no_training_used_writes_nothing(tmp_path):
    with pytest.raises(Killed), Log(tmp_path / "none"):
        raise Killed
    assert not (tmp_path / "none").exists()
