"""Where a result comes from: the processor that computed it, and the state of the code."""

from __future__ import annotations

import platform
import subprocess
from contextlib import suppress
from pathlib import Path


def processor() -> str:
    """This machine's processor by its maker's name, as far as the system tells."""
    with suppress(OSError, StopIteration), open("/proc/cpuinfo") as lines:
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """The checkout's commit, with "-dirty" behind it where files were changed since; None outside a checkout."""
    folder = Path(__file__).parents[1]
    if not (folder / ".git").exists():
        return None
    command = ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--abbrev=12"]
    with suppress(OSError, subprocess.SubprocessError):  # no git, or a checkout that belongs to another user
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.strip()
    return None
