"""A state that only grows: entries are appended, a line each, so that a long history is never written again.

The first line says what the journal belongs to (`identity`); every other one is a checksum and an entry as JSON. A kill
in the middle of a write leaves a line without an end, which is written anew; whatever else does not agree with its
checksum was damaged, and is refused.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nasedu.errors import CheckpointError, OutputError
from nasedu.files import write_atomically

MARK = b"nasedu-journal-1 "


class Journal:
    """Entries that JSON can hold, in a file.

    Args:
        path: the file.
        identity: what the entries belong to, as `nasedu.storage.identity` tells it.
    """

    def __init__(self, path: str | Path, identity: str):
        self.path, self.head = Path(path), MARK + _line(identity)
        self._sound: int | None = None  # bytes that are whole; None: the next write begins afresh

    def read(self) -> list[Any]:
        """All entries, tuples as lists; none where there is no file, or one of another identity, which is said.

        Raises `CheckpointError` where the file was damaged or is no journal.
        """
        if not os.path.exists(self.path):  # nor could there be one of that name
            return []
        try:
            if not self.path.is_file():
                raise ValueError("it is no file")
            head, *lines = self.path.read_bytes().split(b"\n")
            if not head.startswith(MARK) or not lines or not _entry(head.removeprefix(MARK)):
                raise ValueError("it is no journal")
            whole = lines[:-1]  # behind the last end of a line stands what a kill cut short, or nothing
            entries = list(map(_entry, whole)) if head + b"\n" == self.head else []
        except (ValueError, OSError) as error:
            raise CheckpointError(
                f"{self.path} cannot be read ({type(error).__name__}): it was damaged, or is no state of this nasedu; "
                "delete it to start this search again"
            ) from None
        if head + b"\n" != self.head:
            print(f"{self.path.name} was stored with other settings, code or data: it is started afresh")
            return []
        self._sound = len(self.head) + sum(len(line) + 1 for line in whole)
        return entries

    def append(self, entries: Iterable) -> None:
        """Write entries behind those that were read or written before. Raises `OutputError`.

        The file is on the disk, not only on its way there, when this returns.
        """
        content = b"".join(map(_line, entries))
        if self._sound is None:
            write_atomically(self.path, self.head + content)
            self._sound = len(self.head)
        else:
            try:
                with open(self.path, "r+b") as file:
                    file.truncate(self._sound)
                    file.seek(self._sound)
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise OutputError(f"cannot write {self.path}: {error.strerror}") from None
        self._sound += len(content)


def _line(entry: Any) -> bytes:
    text = json.dumps(entry, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _entry(line: bytes) -> Any:
    """What a line holds. Raises `ValueError` where it was damaged."""
    text = line[9:]
    if line[:9] != b"%08x " % zlib.crc32(text):
        raise ValueError("checksum")
    return json.loads(text)
