"""How well a score ranks architectures: correlations with the truth, and several scores made one, and both judged."""

from nasedu.ranking.combine import COMPOSITES, METHODS, combine, incorporated, ranks
from nasedu.ranking.correlation import concordance, correlation, partial
from nasedu.ranking.distance import group_distance, hamming
from nasedu.ranking.distil import Cached, RankingLoss
from nasedu.ranking.judge import complementary, difference, judge, judge_all, spearman
from nasedu.ranking.paired import paired

__all__ = [
    "COMPOSITES",
    "METHODS",
    "Cached",
    "RankingLoss",
    "combine",
    "complementary",
    "concordance",
    "correlation",
    "difference",
    "group_distance",
    "hamming",
    "incorporated",
    "judge",
    "judge_all",
    "paired",
    "partial",
    "ranks",
    "spearman",
]
