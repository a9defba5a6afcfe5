"""Files that a data folder brings: read only where they are plain files, whatever their encoding or suffix."""

from __future__ import annotations

import codecs
import math
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator
from numbers import Real
from pathlib import Path, PurePosixPath

from nasedu.data.notes import Notes, shown
from nasedu.errors import DataError, brief

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pfm")
UNREAD = (".gif", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".psd", ".svg", ".dng", ".raw")  # images, but not decoded
SMALL = 1 << 26  # bytes: the most of a list, a label file or an annotation of one image
DECLARED = re.compile(
    rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']((?:iso|windows|cp|koi8|gb|big5|euc|shift|mac)[\w.-]{0,30})", re.I
)
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
YES, NO = {"true", "yes", "y", "t"}, {"", "false", "no", "n", "f", "none", "null", "unspecified", "unknown"}


def plain(path: str | Path) -> os.stat_result:
    """What is known of a file. Raises OSError for what is none: opening a pipe or a device may block for ever."""
    about = os.stat(path)
    if not stat.S_ISREG(about.st_mode):
        raise OSError("it is no plain file")
    return about


def text(path: Path, notes: Notes | None = None, most: float = SMALL) -> str:
    """A text file in UTF-8 or UTF-16, in the encoding that its XML declares, or in Latin-1, which is noted.

    Raises OSError where it cannot be read, ValueError where it is too large.

    path: the file.
    notes: of the set; None: nothing is noted.
    most: bytes that are read.
    """
    size = plain(path).st_size
    if size > most:
        raise ValueError(f"it has {size:,} bytes; at most {most:,.0f} are read")
    raw = path.read_bytes()
    match = DECLARED.match(raw.lstrip())
    declared = [match[1].decode()] if match else []
    guesses = [encoding for mark, encoding in MARKS.items() if raw.startswith(mark)]
    guesses += ["utf-16-le" if raw[1:2] == b"\0" else "utf-16-be"] if b"\0" in raw[:2] else ["utf-8"]
    wide = match and match[1][:2].lower() in (b"gb", b"bi", b"eu", b"sh")  # whose bytes may look like UTF-8
    for encoding in [*declared, *guesses] if wide else [*guesses, *declared]:
        try:
            return raw.decode(encoding)
        except (ValueError, LookupError):
            continue
    if notes is not None:
        notes.add("repaired: text read as Latin-1", path, "it is no UTF-8, so it was read as Latin-1")
    return raw.decode("latin-1")


def told(value: object) -> str:
    """What a file gives, for a message: of lists and dicts, which may be nested deep, the kind alone."""
    return brief(value) if isinstance(value, str | Real | None) else f"a {type(value).__name__}"


def number(value: object) -> float:
    """A finite number, or the text of one. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, Real | str):
        raise ValueError(f"{told(value)} is no number")
    try:
        read = float(value)
    except (ValueError, OverflowError):
        read = math.nan
    if not math.isfinite(read):
        raise ValueError(f"{brief(value)} is no finite number")
    return read


def size(width: object, height: object) -> tuple[float, float] | None:
    """What a file states of an image's width and height in pixels; None where it states nothing that can be one."""
    try:
        stated = number(width), number(height)
    except ValueError:
        return None
    return stated if min(stated) > 1 else None


def flag(value: object, missing: Callable[[str], None]) -> bool:
    """Whether an object is marked, by a number or a word; what is no such mark is told to `missing`, and is no mark."""
    word = value.strip().lower() if isinstance(value, str) else value
    if word is None or isinstance(word, bool) or (isinstance(word, str) and word in YES | NO):
        return word is True or word in YES
    try:
        return number(word) != 0
    except ValueError:
        missing(f"the mark {told(value)} is neither yes nor no, and was taken as no")
        return False


def inside(name: str, of: Path) -> str:
    """A file's name that another file gives, as a relative path with "/".

    Raises DataError for an absolute name, or one with "..": what lies outside of the folder is never read.

    name: as it was given.
    of: the file that gives it.
    """
    slashed = name.replace("\\", "/")
    parts = PurePosixPath(slashed).parts
    if ".." in parts or slashed.startswith("/") or re.fullmatch("[A-Za-z]:", "".join(parts[:1])):
        named = brief(name)
        raise DataError(f"{shown(of)} names {named}: only files within its own folder are read, by relative names")
    return "/".join(parts) or "."


def same(name: str) -> str:
    """A name by which files are found: accented letters in one form, whatever the system that wrote them."""
    return unicodedata.normalize("NFC", name)


def names(folder: Path) -> list[str]:
    """The names in a folder, but for hidden ones, in order; a missing folder is empty. Raises `DataError`."""
    try:
        return sorted(name for name in os.listdir(folder) if visible(name)) if os.path.isdir(folder) else []
    except OSError as error:
        raise DataError(f"{shown(folder)} cannot be listed: {error.strerror}") from None


def visible(name: str) -> bool:
    """Whether a file or folder is one that people see."""
    return not name.startswith((".", "__MACOSX"))


def walk(folder: Path) -> Iterator[Path]:
    """All files below a folder, in order, but for hidden ones. Raises `DataError`.

    Links are followed, but never to a folder that was seen, or that the folder itself lies in.

    folder: a missing one is empty.
    """
    seen = {str(place) for place in Path(os.path.realpath(folder)).parents}
    left = [Path(folder)]
    while left:
        place = left.pop()
        if (real := os.path.realpath(place)) in seen:
            continue
        seen.add(real)
        inner = [place / name for name in names(place)]
        yield from (path for path in inner if not os.path.isdir(path))
        left += [path for path in reversed(inner) if os.path.isdir(path)]


def listed(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """The files of a folder by name without suffix; of several with one name, that whose suffix comes first.

    folder: a missing one is empty.
    suffixes: in small letters; files may have them in any case.
    """
    files = [folder / name for name in names(folder)]
    rank = {suffix: place for place, suffix in enumerate(suffixes)}
    ranked = sorted((f for f in files if f.suffix.lower() in rank), key=lambda f: (-rank[f.suffix.lower()], f.name))
    return {same(file.stem): file for file in ranked}


def found(path: Path, folders: dict[Path, dict[str, Path]], suffixes: tuple[str, ...] = SUFFIXES) -> Path | None:
    """The file of this name, be its suffix or its accents written otherwise; None where there is none.

    path: as it is named.
    folders: the files of folders that were listed before, by these suffixes; grows.
    suffixes: that it may have.
    """
    if os.path.exists(path):
        return path
    if path.parent not in folders:
        folders[path.parent] = listed(path.parent, suffixes)
    return folders[path.parent].get(same(path.stem))
