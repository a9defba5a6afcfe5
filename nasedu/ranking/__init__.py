"""How well a score ranks architectures: correlations with the truth."""

from nasedu.ranking.correlation import FAILURES, KINDS, Correlation, correlation

__all__ = ["FAILURES", "KINDS", "Correlation", "correlation"]
