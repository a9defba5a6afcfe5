"""Pictures: every function returns a matplotlib figure with its alt text, which a notebook shows."""

from nasedu.plots.blocks import blocks
from nasedu.plots.cells import cells, genes
from nasedu.plots.forms import OPERATIONS, ORDERED, Interval, areas, bars, dots, heat, histogram, lines, scatter, stacks
from nasedu.plots.hardware import additivity, layer_costs
from nasedu.plots.images import detections, images, scenes
from nasedu.plots.picture import Picture
from nasedu.plots.proxies import proxy_heatmap, proxy_mix, proxy_pairs, proxy_scatter
from nasedu.plots.search import agreement, anytime, budget_hits, landscape, probabilities, progress
from nasedu.plots.spaces import architectures, network
from nasedu.plots.structures import structures
from nasedu.plots.tables import price_map
from nasedu.plots.units import bottlenecks, shuffle_units, superkernel, wiring

__all__ = ["OPERATIONS", "ORDERED", "Interval", "Picture", "areas", "bars", "dots", "heat", "histogram", "lines"]
__all__ += ["additivity", "agreement", "anytime", "architectures", "blocks", "bottlenecks", "budget_hits", "cells"]
__all__ += ["detections", "genes", "images", "landscape", "layer_costs", "network", "price_map", "probabilities"]
__all__ += ["progress", "proxy_heatmap", "proxy_mix", "proxy_pairs", "proxy_scatter", "scatter", "scenes"]
__all__ += ["shuffle_units", "stacks", "structures", "superkernel", "wiring"]
