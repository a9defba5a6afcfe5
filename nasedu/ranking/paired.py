"""Runs against runs with the same seeds."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from nasedu.errors import ParameterError
from nasedu.ranking.judge import CONFIDENCE, Estimate


def paired(a: ArrayLike, b: ArrayLike = 0.0) -> Estimate:
    """By how much a is above b on average, compared run by run, and Student's interval of that mean at 95 %.

    a: what came of each run (n,).
    b: what came of the rival's run with the same seed (n,); a single number is the rival of every run.

    What a seed does to both cancels out in their difference. Student's t allows for a spread that few runs only guess:
    with three the interval reaches 4.3 standard errors to either side, where a bootstrap cannot leave the three values.
    One run has an interval without ends. Raises `ParameterError` for unequal lengths and values that are not finite.
    """
    mine, theirs = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if mine.ndim != 1 or not len(mine) or theirs.shape not in ((), mine.shape):
        raise ParameterError(f"pairs need two rows of equal length, got shapes {mine.shape} and {theirs.shape}")
    gaps = mine - theirs
    if not np.isfinite(gaps).all():
        raise ParameterError(f"pairs need finite values, got {gaps}")
    n, mean = len(gaps), float(gaps.mean())
    error = float(gaps.std(ddof=1)) / n**0.5 if n > 1 else np.inf
    reach = float(stdtrit(max(n - 1, 1), (1 + CONFIDENCE) / 2)) * error
    return Estimate(mean, mean - reach, mean + reach)
