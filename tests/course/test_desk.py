"""A copy to work in: new files come, the reader's stay."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from nasedu.course import places
from nasedu.course.desk import lay_out


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    folder = tmp_path / "shipped"
    for name in ("00_a.ipynb", "solutions/00_a.ipynb", "images/a.png", "source/00_a.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{name} 1")
    monkeypatch.setenv("NASEDU_NOTEBOOKS", str(folder))
    return folder


def files(desk):
    return {p.relative_to(desk).as_posix(): p.read_text() for p in desk.rglob("*") if p.is_file() and p.name[0] != "."}


def test_what_the_reader_wrote_is_never_overwritten(shipped, tmp_path):
    desk = tmp_path / "desk"
    assert lay_out(desk) == []
    assert files(desk) == {n: f"{n} 1" for n in ("00_a.ipynb", "solutions/00_a.ipynb", "images/a.png")}
    (desk / "00_a.ipynb").write_text("mine")
    assert lay_out(desk) == []
    assert files(desk)["00_a.ipynb"] == "mine"

    (shipped / "00_a.ipynb").write_text("2")
    (shipped / "images/a.png").write_text("2")
    for told in ([desk / "00_a.ipynb"], []):  # once
        assert lay_out(desk) == told
        assert files(desk)["00_a.ipynb"] == "mine"
        assert files(desk)["00_a.new.ipynb"] == "2"
    assert files(desk)["images/a.png"] == "2", "what nobody has changed is renewed"


def test_a_file_that_was_removed_comes_again(shipped, tmp_path):
    lay_out(tmp_path)
    (tmp_path / "00_a.ipynb").unlink()
    lay_out(tmp_path)
    assert files(tmp_path)["00_a.ipynb"] == "00_a.ipynb 1"


def test_jupyterlab_ends_with_the_command_that_started_it(tmp_path):
    """What is left running keeps its port, and the next one goes to another without a word."""
    told = os.environ | {"JUPYTER_RUNTIME_DIR": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path / "config")}
    command = [sys.executable, "-m", "nasedu", "lab", "--desk", str(tmp_path / "desk"), "--"]
    command += ["--no-browser", "--allow-root", "--port=0"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = subprocess.Popen(command, cwd=places.ROOT, env=told, **quiet)
    try:
        for _ in range(600):
            if files := list(tmp_path.glob("jpserver-*.json")):
                break
            time.sleep(0.1)
        server = psutil.Process(int(files[0].stem.partition("-")[2]))
        started.terminate()
        started.wait(30)
        server.wait(30)  # which raises where it is still there
    finally:
        for process in psutil.Process(started.pid).children(recursive=True) if started.poll() is None else []:
            process.kill()
        started.kill()
