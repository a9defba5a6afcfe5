"""Who may breed: the best of a history, or the best of its latest part, kept up as the history grows."""

from __future__ import annotations

import bisect
from collections import deque

from nasedu.spaces.base import Arch


class Population:
    """The best `size` architectures of a history that grows, best first; with `ageing` the latest `size` of it.

    Among equals the newer one ranks first, as in Zen-NAS's public code. Only what is new is read: going through all of
    a history in every generation would be quadratic. A history whose scores change, as combined ones do, has to be
    read by a fresh population.
    """

    def __init__(self, size: int, ageing: bool = False):
        self.size, self.ageing, self.known = size, ageing, 0
        self._members: list[tuple] = []
        self._ages: deque[tuple] = deque()

    @property
    def identity(self) -> tuple:
        """What a stored search depends on: what it holds is the history's."""
        return self.size, self.ageing

    def read(self, history: list[dict]) -> list[Arch]:
        """The members after `history`, records with index, arch, score and error. A failure is no member."""
        if len(history) < self.known:
            self._forget()
        for record in history[self.known :]:
            if record["error"] is None:
                self._enter((-record["score"], -record["index"], record["arch"]))
        self.known = len(history)
        return [arch for _, _, arch in self._members]

    def _forget(self) -> None:
        self.known = 0
        self._members.clear()
        self._ages.clear()

    def _enter(self, member: tuple) -> None:
        bisect.insort(self._members, member)
        if self.ageing:
            self._ages.append(member)
        if len(self._members) > self.size:
            oldest = self._ages.popleft() if self.ageing else self._members[-1]
            del self._members[bisect.bisect_left(self._members, oldest)]
