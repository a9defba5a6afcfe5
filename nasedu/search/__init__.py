"""How to look for an architecture: every strategy ends in one `SearchResult`."""

from nasedu.search.descent import Descent, DescentConfig, descend
from nasedu.search.evaluators import StandAlone, SupernetAccuracy, ZeroCost
from nasedu.search.evolution import SPOS, EvolutionConfig, evolution
from nasedu.search.gradient import RELAXATIONS, GradientConfig, GradientResult, gradient_search
from nasedu.search.pareto import Front, pareto_sweep
from nasedu.search.plain_budget import PlainBudget, PlainLatency
from nasedu.search.random import random_search
from nasedu.search.result import SearchResult
from nasedu.search.zen_presets import ZEN_PRESETS, ZenPreset, zen_preset
from nasedu.search.zero_shot import ADLIK, ZENNAS, ZenConfig, zero_shot

__all__ = [
    "ADLIK",
    "RELAXATIONS",
    "SPOS",
    "ZENNAS",
    "ZEN_PRESETS",
    "Descent",
    "DescentConfig",
    "EvolutionConfig",
    "Front",
    "GradientConfig",
    "GradientResult",
    "PlainBudget",
    "PlainLatency",
    "SearchResult",
    "StandAlone",
    "SupernetAccuracy",
    "ZenConfig",
    "ZenPreset",
    "ZeroCost",
    "descend",
    "evolution",
    "gradient_search",
    "pareto_sweep",
    "random_search",
    "zen_preset",
    "zero_shot",
]
