"""How to look for an architecture."""

from nasedu.search.gradient import CostLoss, Descent, DescentConfig, descend
from nasedu.search.result import SearchResult

__all__ = ["CostLoss", "Descent", "DescentConfig", "SearchResult", "descend"]
