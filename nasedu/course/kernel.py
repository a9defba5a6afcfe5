"""How building, running and grading start a kernel: this environment's own, and without its routine messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from nasedu.errors import needs

with needs("course"):
    from jupyter_client.manager import AsyncKernelManager

NAME = "python3"
# ipykernel warns at each start that local sockets are not encrypted, and tells of every kernel that is stopped
ARGUMENTS = ["--log-level=CRITICAL"]
STARTS = 3
T = TypeVar("T")


class Quiet(AsyncKernelManager):
    """A kernel that is ended at once, with all its workers, when nobody wants more of it.

    Jupyter's own way interrupts it first, which a cell that is busy and its workers tell of with their tracebacks.
    """

    async def _async_interrupt_kernel(self) -> None:
        await self._async_kill_kernel()


def started(run: Callable[[], T]) -> T:
    """What `run` returns, which starts a kernel; it is called again where the kernel died before it said a word.

    That happens where another program takes one of its ports between their choice and the kernel's start: nothing has
    run then.
    """
    left = STARTS
    while True:
        left -= 1
        try:
            return run()
        except RuntimeError as error:
            if not left or "before replying" not in str(error):
                raise
