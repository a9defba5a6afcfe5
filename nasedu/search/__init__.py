"""How to look for an architecture."""

from nasedu.search.gradient import CostLoss, Descent, DescentConfig, descend

__all__ = ["CostLoss", "Descent", "DescentConfig", "descend"]
