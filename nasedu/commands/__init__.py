"""What the command line can do, a module for each kind of work; `nasedu.__main__` says what may be asked for."""

import sys


def fail(problem: object, status: int) -> int:
    """Tell what went wrong on stderr, and return the exit status `status`."""
    print(f"nasedu: {problem}", file=sys.stderr)
    return status
