"""A journal: what was written comes back, a cut end is written anew, and anything else is refused."""

from __future__ import annotations

import math
import os

import pytest

from nasedu.errors import CheckpointError, OutputError
from nasedu.journal import Journal

ENTRIES = [[0, 0.1, -math.inf, None], {"a": ["b", "\n\u2028\udcff"]}, [1e-300, 2**70, True]]


def test_entries_come_back_exactly_however_they_were_written(tmp_path):
    path = tmp_path / "new" / "j"
    assert Journal(path, "me").read() == []
    Journal(path, "me").append(ENTRIES[:1])
    again = Journal(path, "me")
    assert again.read() == ENTRIES[:1]
    again.append(ENTRIES[1:])
    again.append([])
    again.append([5])
    assert Journal(path, "me").read() == [*ENTRIES, 5]


def test_what_is_written_is_never_written_again(tmp_path):
    journal = Journal(tmp_path / "j", "me")
    journal.append(ENTRIES)
    before, node = journal.path.read_bytes(), os.stat(journal.path).st_ino
    journal.append(["more"])
    assert journal.path.read_bytes().startswith(before) and os.stat(journal.path).st_ino == node


def test_wherever_a_write_was_cut_the_whole_entries_stay(tmp_path):
    path = tmp_path / "j"
    Journal(path, "me").append(ENTRIES)
    content = path.read_bytes()
    head = content.index(b"\n") + 1
    for size in range(head, len(content)):
        path.write_bytes(content[:size])
        journal = Journal(path, "me")
        whole = journal.read()
        assert whole == ENTRIES[: content[head:size].count(b"\n")]
        journal.append(["after"])
        assert Journal(path, "me").read() == [*whole, "after"]


def test_damage_is_refused_wherever_it_is(tmp_path):
    path = tmp_path / "j"
    Journal(path, "me").append(ENTRIES)
    content = path.read_bytes()
    for place in range(len(content) - 1):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(bytes(changed))
        if content[place : place + 1] == b"\n" or changed[place] == 10:
            continue  # lines joined or split: their sums are wrong as well, but the last may look cut short
        with pytest.raises(CheckpointError, match=r"j cannot be read .*delete it"):
            Journal(path, "me").read()


@pytest.mark.parametrize("content", [b"", b"nasedu", b"nasedu-state-2 abc\n", b"\n\n", b"\x00" * 50])
def test_what_is_no_journal_is_refused(tmp_path, content):
    (tmp_path / "j").write_bytes(content)
    with pytest.raises(CheckpointError, match="no state of this nasedu"):
        Journal(tmp_path / "j", "me").read()
    with pytest.raises(CheckpointError):
        Journal(tmp_path, "me").read()


def test_a_journal_of_something_else_is_started_afresh_and_that_is_said(tmp_path, capsys):
    Journal(tmp_path / "j", "me").append(ENTRIES)
    other = Journal(tmp_path / "j", "you")
    assert other.read() == [] and "started afresh" in capsys.readouterr().out
    other.append([1])
    assert Journal(tmp_path / "j", "you").read() == [1]


def test_a_place_that_cannot_be_written_to_is_one_sentence(tmp_path):
    journal = Journal(tmp_path / "j", "me")
    journal.append([1])
    journal.path.unlink()
    with pytest.raises(OutputError, match="cannot write"):
        journal.append([2])
