"""A copy of the course to work in: the checkout stays as it is, and what a reader wrote is never overwritten."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from nasedu.course import places
from nasedu.files import write_atomically

SHIPPED = ".shipped.json"  # in the copy: what each file was like when it was laid there


def lay_out(desk: Path) -> list[Path]:
    """Copy the notebooks, their solutions and pictures into the folder `desk`, where they are missing or unchanged.

    Returns the files that the reader has changed, or run, since an older version of them was laid there; they stay, and
    the newer version lies beside them as NAME.new.ipynb.
    """
    course, note = places.notebooks(), desk / SHIPPED
    before = json.loads(note.read_text("utf-8")) if note.is_file() else {}
    shipped, kept = {}, []
    for source in sorted([*course.glob("[0-9]*.ipynb"), *course.glob("solutions/*.ipynb"), *course.glob("images/*")]):
        name = source.relative_to(course).as_posix()
        target, shipped[name] = desk / name, _hash(source)
        if target.exists() and _hash(target) != before.get(name):
            if shipped[name] in (before.get(name), _hash(target)):
                continue
            kept.append(target)
            target = target.with_suffix(f".new{target.suffix}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    write_atomically(note, json.dumps(shipped, indent=1))
    return kept


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
