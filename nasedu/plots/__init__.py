"""Pictures: every function returns a matplotlib figure that a notebook shows."""

from nasedu.plots.detection import detections, scenes, training_curves
from nasedu.plots.picture import Picture
from nasedu.plots.search import budget, loss_terms, probabilities, samples, score_by_depth, score_map, trade_off
from nasedu.plots.spaces import architectures, network

__all__ = [
    "Picture",
    "architectures",
    "budget",
    "detections",
    "loss_terms",
    "network",
    "probabilities",
    "samples",
    "scenes",
    "score_by_depth",
    "score_map",
    "trade_off",
    "training_curves",
]
