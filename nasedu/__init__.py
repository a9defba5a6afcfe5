"""nasedu: neural architecture search to learn from, compare with and use."""

import importlib as _importlib
import pkgutil as _pkgutil

__version__ = "0.1.0"


def __getattr__(name: str):
    """`nasedu.spaces` and the other parts, imported when they are first asked for."""
    if name not in __dir__() or name.startswith("_"):
        raise AttributeError(f"module 'nasedu' has no attribute {name!r}")
    return _importlib.import_module(f"nasedu.{name}")


def __dir__() -> set[str]:
    return {*globals(), *(part.name for part in _pkgutil.iter_modules(__path__))}
