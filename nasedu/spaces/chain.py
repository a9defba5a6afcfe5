"""Decision groups one after another, where some share decisions: what a running total has to remember between two.

A sum over groups that share nothing needs only the total so far. Where a later group asks for a decision of an earlier
one, the choice that was made there has to be remembered as well: it is the *state* between the two (variable
elimination, in the order of the groups).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Link:
    """One group with all its options, each of which leads from a state to a state.

    decisions: the group's, and those before it that a later group asks for.
    options: their choices (options, decisions), without those that name more than there is to decide.
    active: whether each choice decides anything (options, decisions).
    entry: of each option, the place in the group's flattened table (options,).
    before: of each option, the state that it goes on from (options,).
    after: the state that it leads to (options,).
    states: how many there may be after it.
    """

    decisions: tuple[int, ...]
    options: np.ndarray
    active: np.ndarray
    entry: np.ndarray
    before: np.ndarray
    after: np.ndarray
    states: int

    @cached_property
    def leaving(self) -> list[np.ndarray]:
        """For every state before it, the options that go on from there."""
        return [np.flatnonzero(self.before == state) for state in range(self.before.max() + 1)]


def links(
    groups: Sequence[tuple[int, ...]], choices: Sequence[int], needs: Sequence[tuple[int, int, int]]
) -> list[Link]:
    """A link for every group, in their order.

    groups: of decisions, by index.
    choices: how many every decision has.
    needs: see `SearchSpace.needs`.
    """
    found, known = [], ()
    for i, group in enumerate(groups):
        scope = tuple(dict.fromkeys(known + group))
        later = {d for other in groups[i + 1 :] for d in other}
        options = np.array(list(itertools.product(*(range(choices[d]) for d in scope))))
        active = np.ones(options.shape, bool)
        for d, other, first in needs:
            if d in group:
                active[:, scope.index(d)] = options[:, scope.index(other)] >= first
        legal = (active | (options == 0)).all(1)
        options, active = options[legal], active[legal]
        kept = tuple(d for d in scope if d in later)
        places = [_number(options, scope, part, choices) for part in (group, known, kept)]
        found.append(Link(scope, options, active, *places, math.prod(choices[d] for d in kept)))
        known = kept
    return found


def _number(options: np.ndarray, scope: tuple[int, ...], part: tuple[int, ...], choices: Sequence[int]) -> np.ndarray:
    """The choices of some of the decisions as one number, the last of them counting fastest."""
    number = np.zeros(len(options), int)
    for d in part:
        number = number * choices[d] + options[:, scope.index(d)]
    return number


def ways(chain: Sequence[Link]) -> int:
    """How many architectures there are."""
    counts = [1]
    for link in chain:
        counts, before = [0] * link.states, counts
        for start, end in zip(link.before.tolist(), link.after.tolist(), strict=True):
            counts[end] += before[start]
    return sum(counts)


def best(chain: Sequence[Link], gains: Sequence[np.ndarray]) -> list[int]:
    """The option of every link whose gains have the highest sum; of equal ones, one.

    chain: of a space.
    gains: of each link's options (options,).
    """
    totals, back = np.zeros(1), []
    for link, gain in zip(chain, gains, strict=True):
        reached = totals[link.before] + gain
        order = np.lexsort((-np.arange(len(reached)), reached))
        chosen = np.full(link.states, -1)
        chosen[link.after[order]] = order  # of several at one place numpy keeps the last: the best
        totals = np.where(chosen < 0, -np.inf, reached[chosen])
        back.append(chosen)
    state, picked = int(totals.argmax()), []
    for link, chosen in zip(reversed(chain), reversed(back), strict=True):
        picked.append(int(chosen[state]))
        state = int(link.before[picked[-1]])
    return picked[::-1]


def arch_of(chain: Sequence[Link], chosen: Sequence[int], decisions: int) -> tuple[int, ...]:
    """The architecture of one option of every link.

    chain: of a space.
    chosen: an option of each link, which lead on from one another.
    decisions: how many the space has.
    """
    arch = [0] * decisions
    for link, i in zip(chain, chosen, strict=True):
        for decision, choice in zip(link.decisions, link.options[i].tolist(), strict=True):
            arch[decision] = choice
    return tuple(arch)
