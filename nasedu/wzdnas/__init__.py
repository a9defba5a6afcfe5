"""WZDNAS: warm-up, zero-cost maps and hardware-aware differentiable search for detectors, in the order it runs.

1. `warm_up` trains a supernet under the uniform architecture.
2. `search` descends on theta over four tables: zero-cost map, FLOPs, depth, latency.
3. `derive` takes the most probable architecture and repairs it where it misses the target.
4. `nasedu.task.fit` trains it from scratch, the task's `score` is its average precision, `deploy` exports it.
"""

from nasedu.proxies.per_block import PROXIES, zero_cost_map
from nasedu.wzdnas.authors import read_authors, write_authors
from nasedu.wzdnas.compare import contestants, report
from nasedu.wzdnas.detector import anchors_for, detection_task
from nasedu.wzdnas.loss import PUBLISHED, four_terms, objective
from nasedu.wzdnas.recipes import RECIPES, recipe
from nasedu.wzdnas.saved import Detector, load
from nasedu.wzdnas.search import WZDNASConfig, cost_tables, search, terms_of
from nasedu.wzdnas.target import read_goal
from nasedu.wzdnas.warmup import warm_up

__all__ = [
    "PROXIES",
    "PUBLISHED",
    "RECIPES",
    "Detector",
    "WZDNASConfig",
    "anchors_for",
    "contestants",
    "cost_tables",
    "detection_task",
    "four_terms",
    "load",
    "objective",
    "read_authors",
    "read_goal",
    "recipe",
    "report",
    "search",
    "terms_of",
    "warm_up",
    "write_authors",
    "zero_cost_map",
]
