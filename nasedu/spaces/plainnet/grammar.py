"""The grammar of structure strings: text to a list of calls, by recursive descent.

    net := block+        block := name '(' [label '|'] [integer (',' integer)*] ')'

as in "SuperConvK3BNRELU(3,8,1,1)SuperResK3K3(8,16,1,8,1)" (Zen-NAS, the authors' PlainNet). Blanks may stand between
any two tokens. Nothing here knows what a block is, and nothing is evaluated.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from typing import NamedTuple

from nasedu.errors import ArchitectureError, UnknownName, brief, check_name

MOST_CHARACTERS = 100_000
MOST_DIGITS = 9
LETTERS = frozenset(string.ascii_letters + "_")
DIGITS = frozenset(string.digits)


class Call(NamedTuple):
    """One block as it is written, without its label; `at` counts from 1."""

    name: str
    arguments: tuple[int, ...]
    at: int


def read(text: str) -> list[Call]:
    """The blocks of a structure string, in order. Raises `ArchitectureError`, which says where and what."""
    if not isinstance(text, str):
        raise ArchitectureError(f"a structure string is text, got {brief(text)}")
    text = str.__str__(text)  # of a subclass, the text alone
    if len(text) > MOST_CHARACTERS:
        raise ArchitectureError(f"a structure string has at most {MOST_CHARACTERS} characters, got {len(text)}")
    reader, calls = _Reader(text), []
    while reader.next() in LETTERS:
        calls.append(reader.block())
    if reader.next():
        raise reader.error("expected a block, as in SuperResK3K3(8,16,1,8,1)")
    if not calls:
        raise ArchitectureError("the structure string is empty: it needs at least one block")
    return calls


def check_word(kind: str, name: str, valid: Iterable[str]) -> str:
    """`check_name` for a name in a structure string, which finds the near one in any case. Raises `UnknownName`.

    kind: the noun for the message.
    name: what was given.
    valid: the names that there are.
    """
    valid = list(valid)
    meant = {word.lower(): word for word in valid}.get(name.lower(), name)
    if meant != name and name not in valid:
        raise UnknownName(f"unknown {kind} {brief(name)}: did you mean {meant!r}? valid: {', '.join(valid)}")
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

    def block(self) -> Call:
        """A name and its arguments in parentheses."""
        start, name = self.at + 1, self.word(LETTERS | DIGITS)
        if self.next() != "(":
            raise self.error(f"expected '(' after {name[:40]}")
        self.at += 1
        self.skip_label()
        arguments = [] if self.next() == ")" else [self.argument(name)]
        while self.next() == ",":
            self.at += 1
            arguments.append(self.argument(name))
        if self.next() != ")":
            raise self.error(f"expected ',' or ')' in the arguments of {name[:40]}")
        self.at += 1
        return Call(name, tuple(arguments), start)

    def skip_label(self) -> None:
        """A name before '|', where there is one, says nothing of the network."""
        self.next()
        start, word = self.at, self.word(LETTERS | DIGITS | frozenset(".-"))
        self.at = self.at + 1 if word and self.next() == "|" else start

    def argument(self, name: str) -> int:
        """The whole number that stands here, in the arguments of `name`. Raises `ArchitectureError`."""
        sign, start = self.next(), self.at
        self.at += sign in ("-", "+")
        digits = self.word(DIGITS)
        if not digits or len(digits) > MOST_DIGITS:
            self.at = start
            what = f"a whole number of at most {MOST_DIGITS} digits" if digits else "a whole number"
            raise self.error(f"expected {what} in the arguments of {name[:40]}")
        return -int(digits) if sign == "-" else int(digits)
