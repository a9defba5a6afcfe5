"""Pictures: every function returns a matplotlib figure that a notebook shows."""

from nasedu.plots.additivity import additivity
from nasedu.plots.anytime import anytime
from nasedu.plots.blocks import blocks
from nasedu.plots.budgets import budget_hits, loss_shapes, price_of_budget, reach, soft_costs
from nasedu.plots.cells import cells, prices
from nasedu.plots.detection import detections, scenes, training_curves
from nasedu.plots.front import pareto_front
from nasedu.plots.genes import genes, selection
from nasedu.plots.hardware import layer_costs
from nasedu.plots.ideas import matrices, profile
from nasedu.plots.kernels import (
    bn_statistics,
    channel_flow,
    choices_over_steps,
    recalibration,
    shuffle_units,
    straight_through,
    superkernel,
    thresholds,
)
from nasedu.plots.mobile import bottlenecks, cost_histogram, part_costs, price_map, wiring
from nasedu.plots.picture import Picture
from nasedu.plots.proxies import proxy_cost, proxy_heatmap, proxy_mix, proxy_pairs, proxy_scatter
from nasedu.plots.ranking import (
    before_after,
    choice_counts,
    choice_probabilities,
    correlation_bars,
    gradient_spread,
    over_epochs,
    score_scatter,
    weight_bars,
)
from nasedu.plots.search import budget, loss_terms, probabilities, samples, score_by_depth, score_map, trade_off
from nasedu.plots.spaces import architectures, network
from nasedu.plots.structures import contest, lines, mutation_types, structures
from nasedu.plots.timing import bars, runs
from nasedu.plots.truth import agreement, images, landscape, progress

__all__ = [
    "Picture",
    "additivity",
    "agreement",
    "anytime",
    "architectures",
    "bars",
    "before_after",
    "blocks",
    "bn_statistics",
    "bottlenecks",
    "budget",
    "budget_hits",
    "cells",
    "channel_flow",
    "choice_counts",
    "choice_probabilities",
    "choices_over_steps",
    "contest",
    "correlation_bars",
    "cost_histogram",
    "detections",
    "genes",
    "gradient_spread",
    "images",
    "landscape",
    "layer_costs",
    "lines",
    "loss_shapes",
    "loss_terms",
    "matrices",
    "mutation_types",
    "network",
    "over_epochs",
    "pareto_front",
    "part_costs",
    "price_map",
    "price_of_budget",
    "prices",
    "probabilities",
    "profile",
    "progress",
    "proxy_cost",
    "proxy_heatmap",
    "proxy_mix",
    "proxy_pairs",
    "proxy_scatter",
    "reach",
    "recalibration",
    "runs",
    "samples",
    "scenes",
    "score_by_depth",
    "score_map",
    "score_scatter",
    "selection",
    "shuffle_units",
    "soft_costs",
    "straight_through",
    "structures",
    "superkernel",
    "thresholds",
    "trade_off",
    "training_curves",
    "weight_bars",
    "wiring",
]
