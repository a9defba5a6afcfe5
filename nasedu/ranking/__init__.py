"""How well a score ranks architectures: correlations with the truth, and several scores made one, and both judged."""

from nasedu.ranking.combine import COMPOSITES, METHODS, combine, incorporated, ranks
from nasedu.ranking.correlation import correlation
from nasedu.ranking.judge import complementary, difference, judge, judge_all, spearman
from nasedu.ranking.paired import paired

__all__ = [
    "COMPOSITES",
    "METHODS",
    "combine",
    "complementary",
    "correlation",
    "difference",
    "incorporated",
    "judge",
    "judge_all",
    "paired",
    "ranks",
    "spearman",
]
