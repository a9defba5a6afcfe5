"""How to look for an architecture: every strategy ends in one `SearchResult`."""

from nasedu.search.descent import DescentConfig, descend
from nasedu.search.evaluators import StandAlone, SupernetScore, ZeroCost
from nasedu.search.evolution import SPOS, EvolutionConfig, evolution
from nasedu.search.gradient import GradientConfig, gradient_search
from nasedu.search.local import local_search
from nasedu.search.pareto import pareto_sweep
from nasedu.search.plain_budget import PlainBudget, PlainLatency
from nasedu.search.random import random_search
from nasedu.search.result import SearchResult
from nasedu.search.settings import SearchConfig
from nasedu.search.stratified import StratifiedConfig, stratified_search
from nasedu.search.zen_presets import zen_preset
from nasedu.search.zero_shot import ADLIK, ZENNAS, ZenConfig, zero_shot

__all__ = [
    "ADLIK",
    "SPOS",
    "ZENNAS",
    "DescentConfig",
    "EvolutionConfig",
    "GradientConfig",
    "PlainBudget",
    "PlainLatency",
    "SearchConfig",
    "SearchResult",
    "StandAlone",
    "StratifiedConfig",
    "SupernetScore",
    "ZenConfig",
    "ZeroCost",
    "descend",
    "evolution",
    "gradient_search",
    "local_search",
    "pareto_sweep",
    "random_search",
    "stratified_search",
    "zen_preset",
    "zero_shot",
]
