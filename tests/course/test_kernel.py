"""A kernel that dies before it says a word is started again, whoever starts it."""

import json
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from nasedu.course import kernel

DIES = "import os, sys\nif os.path.exists(sys.argv[1]):\n    os.remove(sys.argv[1])\n    sys.exit(1)\n"
RUNS = "from ipykernel import kernelapp\nsys.argv[1:] = sys.argv[2:]\nkernelapp.launch_new_instance()\n"


@pytest.fixture
def spec(tmp_path, monkeypatch):
    """A kernel under the course's name that dies at its start while a file is there; the file."""
    folder, file = tmp_path / "kernels" / kernel.NAME, tmp_path / "dies"
    folder.mkdir(parents=True)
    (folder / "start.py").write_text(DIES + RUNS)
    argv = [sys.executable, str(folder / "start.py"), str(file), "-f", "{connection_file}"]
    (folder / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "x", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    return file


def execute(code):
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    client = NotebookClient(nb, kernel_name=kernel.NAME)
    client.extra_arguments = kernel.ARGUMENTS
    kernel.started(client.execute)
    return nb.cells[0].outputs[0]


def test_a_kernel_that_dies_at_its_start_is_started_again(spec):
    spec.touch()
    assert execute("1 + 1").data["text/plain"] == "2"
    assert not spec.exists()


def test_other_failures_are_told_at_once():
    calls = []

    def fails(message):
        calls.append(message)
        raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="memory"):
        kernel.started(lambda: fails("out of memory"))
    assert len(calls) == 1
    with pytest.raises(RuntimeError, match="before replying"):
        kernel.started(lambda: fails("Kernel died before replying to kernel_info"))
    assert 1 < len(calls) < 10
