"""A bar is drawn while it runs, and nothing of it stays."""

import nbformat
from nbclient import NotebookClient

from nasedu.course import Bar, kernel
from nasedu.course.bar import MARK
from nasedu.course.outputs import tidy

CODE = """\
import time
from nasedu import course

print("before")
for _ in course.Bar(range(3), "loop"):
    time.sleep(0.3)
with course.Bar(total=9, desc="net", unit="epoch") as bar:
    for done in range(9):
        bar.show(done + 1, 9, f"loss {done}")
with course.Bar(total=5, desc="broken off") as bar:
    bar.show(1)
print("after")
"""


def test_in_a_notebook_nothing_stays(monkeypatch):
    drawn = []

    class Watching(NotebookClient):
        def process_message(self, msg, cell, cell_index):
            if msg["msg_type"] in ("display_data", "update_display_data"):
                drawn.append(msg["content"]["data"].get("text/plain", ""))
            return super().process_message(msg, cell, cell_index)

    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)])
    client = Watching(nb, kernel_name=kernel.NAME)
    client.extra_arguments = kernel.ARGUMENTS
    client.execute()
    assert any("loop" in text and "1/3" in text for text in drawn), drawn
    outputs = nb.cells[0].outputs
    assert all(output.get("name") != "stderr" for output in outputs)
    assert all(output.data == {} for output in outputs if MARK in output.get("metadata", {}))
    tidy(nb)
    assert [output.text for output in nb.cells[0].outputs] == ["before\nafter\n"]


def test_elsewhere_it_is_tqdm_which_hears_of_progress(capsys):
    with Bar(total=4, desc="net") as bar:
        bar.show(1, 8, "loss 0.1")
        bar.show(3)
        assert (bar.n, bar.total, bar.postfix) == (3, 8, "loss 0.1")
    assert list(Bar(range(3), "loop")) == [0, 1, 2]
    assert capsys.readouterr().out == ""
