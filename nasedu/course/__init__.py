"""What the notebooks stand on: set-up, bars, predictions, results, exercise checkers, building and running."""

import importlib as _importlib

from nasedu.course.bar import Bar
from nasedu.course.finish import finish
from nasedu.course.setup import setup
from nasedu.course.words import words

__all__ = ["Bar", "finish", "predict", "setup", "words"]


def __getattr__(name: str):
    """`course.predict`, loaded when it is asked for: the command line does without widgets."""
    if name != "predict":
        raise AttributeError(f"module 'nasedu.course' has no attribute {name!r}")
    globals()[name] = function = _importlib.import_module("nasedu.course.prediction").predict
    return function
