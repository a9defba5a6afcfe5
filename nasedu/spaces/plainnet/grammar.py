"""The grammar of structure strings: text to a tree of calls, by recursive descent.

    net      := block+                        block := name '(' [label '|'] [argument (',' argument)*] ')'
    argument := integer | branch              branch := block+ [';' [branch]]

as in "SuperConvK3BNRELU(3,8,1,1)SuperResK3K3(8,16,1,8,1)" (Zen-NAS, the authors' PlainNet). Blanks may stand between
any two tokens. Nothing here knows what a block is, and nothing is evaluated.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from typing import NamedTuple

from nasedu.errors import ArchitectureError, UnknownName, check_name

MOST_CHARACTERS = 100_000
MOST_DEPTH = 20  # blocks within blocks
MOST_DIGITS = 9
LETTERS = frozenset(string.ascii_letters + "_")
DIGITS = frozenset(string.digits)


class Call(NamedTuple):
    """One block as it is written: `arguments` are integers, or blocks where a branch stands; `at` counts from 1."""

    name: str
    label: str
    arguments: tuple[int | Call, ...]
    at: int


def read(text: str) -> list[Call]:
    """The blocks of a structure string, in order. Raises `ArchitectureError`, which says where and what."""
    if not isinstance(text, str):
        raise ArchitectureError(f"a structure string is text, got {type(text).__name__}")
    if len(text) > MOST_CHARACTERS:
        raise ArchitectureError(f"a structure string has at most {MOST_CHARACTERS} characters, got {len(text)}")
    reader = _Reader(text)
    calls = reader.blocks(0)
    if reader.next():
        raise reader.error("expected a block, as in SuperResK3K3(8,16,1,8,1)")
    if not calls:
        raise ArchitectureError("the structure string is empty: it needs at least one block")
    return calls


def check_word(kind: str, name: str, valid: Iterable[str]) -> str:
    """`check_name` for a name in a structure string, which finds the near one in any case. Raises `UnknownName`."""
    valid = list(valid)
    meant = {word.lower(): word for word in valid}.get(name.lower(), name)
    if meant != name and name not in valid:
        raise UnknownName(f"unknown {kind} {name!r}: did you mean {meant!r}? valid: {', '.join(valid)}")
    return check_name(kind, name, valid)


class _Reader:
    """A text and how far it has been read."""

    def __init__(self, text: str):
        self.text, self.at = text, 0

    def next(self) -> str:
        """The next character that is no blank; "" at the end."""
        text, at = self.text, self.at
        while text[at : at + 1].isspace():
            at += 1
        self.at = at
        return text[at : at + 1]

    def word(self, characters: frozenset[str]) -> str:
        """The run of `characters` that starts here, read."""
        start = self.at
        while self.at < len(self.text) and self.text[self.at] in characters:
            self.at += 1
        return self.text[start : self.at]

    def error(self, problem: str) -> ArchitectureError:
        found = repr(self.text[self.at : self.at + 12]) if self.next() else "the end"
        return ArchitectureError(f"{problem}, but at character {self.at + 1} stands {found}")

    def blocks(self, depth: int) -> list[Call]:
        calls = []
        while self.next() in LETTERS:
            calls.append(self.block(depth))
        return calls

    def block(self, depth: int) -> Call:
        """A name and its arguments in parentheses."""
        if depth > MOST_DEPTH:
            raise self.error(f"blocks are nested more than {MOST_DEPTH} deep")
        start, name = self.at + 1, self.word(LETTERS | DIGITS)
        if self.next() != "(":
            raise self.error(f"expected '(' after {name[:40]}")
        self.at += 1
        label = self.label()
        arguments = [] if self.next() == ")" else self.argument(name, depth)
        while self.next() == ",":
            self.at += 1
            arguments += self.argument(name, depth)
        if self.next() != ")":
            raise self.error(f"expected ',' or ')' in the arguments of {name[:40]}")
        self.at += 1
        return Call(name, label, tuple(arguments), start)

    def label(self) -> str:
        """A name before '|', which says nothing of the network; "" where there is none."""
        self.next()
        start, word = self.at, self.word(LETTERS | DIGITS | frozenset(".-"))
        if word and self.next() == "|":
            self.at += 1
            return word
        self.at = start
        return ""

    def argument(self, name: str, depth: int) -> list[int | Call]:
        """An integer, or the blocks of a branch; ';' ends a branch, and another one may follow."""
        if self.next() in LETTERS:
            branch = self.blocks(depth + 1)
            if self.next() == ";":
                self.at += 1
                branch += self.argument(name, depth) if self.next() in LETTERS else []
            return branch
        start, sign = self.at, self.next()
        self.at += sign in ("-", "+")
        digits = self.word(DIGITS)
        if not digits or len(digits) > MOST_DIGITS:
            self.at = start
            what = f"a whole number of at most {MOST_DIGITS} digits" if digits else "a whole number"
            raise self.error(f"expected {what} in the arguments of {name[:40]}")
        return [-int(digits) if sign == "-" else int(digits)]
