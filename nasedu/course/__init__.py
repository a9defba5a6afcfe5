"""What the notebooks stand on: set-up, results, exercise checkers, building and running."""

from nasedu.course.finish import finish
from nasedu.course.setup import setup

__all__ = ["finish", "setup"]
