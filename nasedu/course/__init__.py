"""What the notebooks stand on: set-up, results, exercise checkers, building and running."""

from nasedu.course.finish import finish
from nasedu.course.setup import Config, setup

__all__ = ["Config", "finish", "setup"]
