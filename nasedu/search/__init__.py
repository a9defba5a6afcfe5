"""How to look for an architecture: every strategy ends in one `SearchResult`."""

from nasedu.search.bilevel import RELAXATIONS, GradientConfig, GradientResult, gradient_search
from nasedu.search.constraints import Constraint, at_most, within
from nasedu.search.derive import Derived, derive
from nasedu.search.evaluators import StandAlone, SupernetAccuracy, build_seeded
from nasedu.search.evolution import SPOS, EvolutionConfig, evolution
from nasedu.search.gradient import CostLoss, Descent, DescentConfig, descend
from nasedu.search.random import random_search
from nasedu.search.result import SearchResult

__all__ = [
    "RELAXATIONS",
    "SPOS",
    "Constraint",
    "CostLoss",
    "Derived",
    "Descent",
    "DescentConfig",
    "EvolutionConfig",
    "GradientConfig",
    "GradientResult",
    "SearchResult",
    "StandAlone",
    "SupernetAccuracy",
    "at_most",
    "build_seeded",
    "derive",
    "descend",
    "evolution",
    "gradient_search",
    "random_search",
    "within",
]
