"""Things by name: spaces, samplers, losses, proxies, data sets. A misspelt name or option names the nearest one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping

from nasedu.errors import check_name


class Registry(dict):
    """Things of one `kind` by name: `registry[name]` raises `UnknownName` for a name that is none."""

    def __init__(self, kind: str, entries: Mapping[str, object] | None = None):
        super().__init__(entries or {})
        self.kind = kind

    def __getitem__(self, name: object):
        return super().__getitem__(check_name(self.kind, name, self))

    def names(self) -> list[str]:
        """All names, in the order in which they came."""
        return list(self)

    def create(self, name: str, /, *given, **options):
        """What `self[name]` makes. Raises `UnknownName`, also for an option's name.

        name: of the thing.
        given: its arguments by position.
        options: its arguments by name.
        """
        make = self[name]
        check_options(name, options, options_of(make)[len(given) :])
        return make(*given, **options)


def options_of(make: Callable) -> list[str]:
    """The names that a function or a class takes, in order; not what `*args` and `**kwargs` stand for."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in inspect.signature(make).parameters.values() if p.kind not in variable]


def check_options(of: str, options: Iterable[str], valid: Iterable[str]) -> None:
    """Raise `UnknownName` for an option that there is not.

    of: what takes the options.
    options: the names that were given.
    valid: those that there are.
    """
    valid = list(valid)
    for option in options:
        check_name(f"option of {of}", option, valid)
