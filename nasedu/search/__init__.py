"""How to look for an architecture: every strategy ends in one `SearchResult`."""

from nasedu.search.constraints import Constraint, at_most, within
from nasedu.search.derive import Derived, derive
from nasedu.search.evolution import SPOS, EvolutionConfig, evolution
from nasedu.search.gradient import CostLoss, Descent, DescentConfig, descend
from nasedu.search.random import random_search
from nasedu.search.result import SearchResult

__all__ = [
    "SPOS",
    "Constraint",
    "CostLoss",
    "Derived",
    "Descent",
    "DescentConfig",
    "EvolutionConfig",
    "SearchResult",
    "at_most",
    "derive",
    "descend",
    "evolution",
    "random_search",
    "within",
]
