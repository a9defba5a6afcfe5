"""How well a score ranks architectures: correlations with the truth, and several scores made one, and both judged."""

from nasedu.ranking.combine import COMPOSITES, FORMS, METHODS, combine, incorporated, ranks, signed_log
from nasedu.ranking.correlation import FAILURES, KINDS, Correlation, correlation
from nasedu.ranking.judge import Estimate, Judgement, complementary, difference, judge, judge_all, spearman

__all__ = [
    "COMPOSITES",
    "FAILURES",
    "FORMS",
    "KINDS",
    "METHODS",
    "Correlation",
    "Estimate",
    "Judgement",
    "combine",
    "complementary",
    "correlation",
    "difference",
    "incorporated",
    "judge",
    "judge_all",
    "ranks",
    "signed_log",
    "spearman",
]
