"""How many seeds: what an experiment of some size would find of a difference that is there."""

from __future__ import annotations

import numpy as np
from scipy import stats

from nasedu.errors import check_number
from nasedu.plots.picture import Picture
from nasedu.widgets.base import PictureWidget, slider

MOST = 40  # seeds


class PowerWidget(PictureWidget):
    """Power of Student's test of two methods with n seeds each, at 95 %, and how far the interval reaches.

    Controls: `seeds` of each method, `difference` in points, `noise` of a single result. `power` is the share of
    experiments that would tell the methods apart, `reach` half of the interval's width.

    Args:
        sd: the noise at first. Raises `ParameterError` unless it is a number above 0.
    """

    def __init__(self, sd: float = 1.0):
        check_number("sd, the noise of a result,", sd, above=True)
        self.power, self.reach = 0.0, 0.0
        self.seeds = slider("seeds of each method", 3, 2, MOST)
        self.difference = slider("true difference (points)", 1.0, 0.0, 5.0, 0.1)
        self.noise = slider("noise of a result (points)", float(sd), 0.05, max(5.0, 2.0 * sd), 0.05)
        super().__init__(self.seeds, self.difference, self.noise)

    def draw(self):
        """Power over seeds, and where the controls stand on it."""
        seeds, n = np.arange(2, MOST + 1), self.seeds.value
        power = _power(self.difference.value, self.noise.value, seeds)
        self.power = float(power[n - 2])
        self.reach = float(stats.t.ppf(0.975, 2 * n - 2) * self.noise.value * (2 / n) ** 0.5)
        picture = Picture(5.0, 3.2, "")
        ax = picture.subplots()
        ax.plot(seeds, power, "-", label="power")
        ax.plot([n], [self.power], "o", markersize=9, label=f"{n} seeds")
        ax.set(xlim=(1, MOST), ylim=(0, 1.02), xlabel="seeds of each method", ylabel="share of experiments that tell")
        picture.key()
        told = (
            f"The interval reaches {self.reach:.2f} points to either side. {self.power:.0%} of such experiments tell."
        )
        picture.alt = f"Power over seeds for a difference of {self.difference.value:g} points. {told}"
        return picture, told


def _power(difference: float, sd: float, seeds: np.ndarray) -> np.ndarray:
    """P(|T| beyond the 97.5 % quantile), T Student's with 2n - 2 degrees and the difference in standard errors.

    The mean over what the seeds may take the noise for; `scipy.stats.nct` is nan for large differences.
    """
    degrees, shares = 2 * seeds - 2, (np.arange(2000) + 0.5) / 2000
    shift, limit = difference / (sd * np.sqrt(2 / seeds)), stats.t.ppf(0.975, degrees)
    limits = limit * np.sqrt(stats.chi2.ppf(shares[:, None], degrees) / degrees)
    return (stats.norm.sf(limits - shift) + stats.norm.cdf(-limits - shift)).mean(axis=0)
