"""What every strategy is told: for how long to look, among which architectures, and what to write down beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields

from nasedu.errors import ParameterError, check_number, check_whole
from nasedu.spaces.base import Arch
from nasedu.tables.table import LookupTable

Evaluate = Callable[[Arch], float | Mapping[str, float]]  # one score, or several by name for a strategy that combines
Feasible = Callable[[Arch], bool]  # a Constraint, or any predicate
Price = Callable[[Arch], float]  # a LookupTable, or any function


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """The settings that all searches share; a strategy with settings of its own adds them.

    budget: how many architectures are evaluated.
    feasible: a `Constraint` or a predicate that all of them meet.
    costs: tables, or functions of an architecture, whose values join the history by name.
    patience: seconds that one evaluation may take on an executor, after which it is tried again, on another worker if
        there is one; see `nasedu.workers.Workers`. None: for ever.
    together: evaluations that an executor gets as one task: more than 1 where they are short and workers are many.

    Raises `ParameterError`.
    """

    budget: int = 100
    feasible: Feasible | None = None
    costs: Mapping[str, Price] = field(default_factory=dict, hash=False)
    patience: float | None = None
    together: int = 1

    def __post_init__(self):
        check_whole("budget", self.budget)
        check_whole("together", self.together)
        if self.patience is not None:
            check_number("patience", self.patience, above=True)
        table = isinstance(self.feasible, LookupTable)
        if table or not (self.feasible is None or callable(self.feasible)):
            hint = "use at_most(table, ...) or within(table, ...)" if table else "it is asked about architectures"
            raise ParameterError(f"feasible must be a constraint or a function, got {self.feasible!r:.60}: {hint}")
        if not isinstance(self.costs, Mapping) or not all(map(callable, self.costs.values())):
            raise ParameterError(f"costs must be tables or functions by name, got {self.costs!r:.80}")

    @property
    def rules(self) -> dict[str, object]:
        """A strategy's own settings by name: how it looks, not for how long or among what."""
        shared = {f.name for f in fields(SearchConfig)}
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in shared}

    @property
    def identity(self) -> list:
        """What a stored search depends on: a larger budget goes on where a smaller one ended."""
        return [type(self).__name__, self.rules]
