"""Pictures: every function returns a matplotlib figure with its alt text, which a notebook shows."""

from nasedu.plots.blocks import blocks
from nasedu.plots.cells import cells, genes
from nasedu.plots.forms import OPERATIONS, ORDERED, Interval, bars, dots, heat, histogram, lines, scatter, stacks
from nasedu.plots.images import detections, images, scenes
from nasedu.plots.picture import Picture
from nasedu.plots.proxies import proxy_heatmap, proxy_mix
from nasedu.plots.search import agreement, anytime, budget_hits, landscape, probabilities, progress
from nasedu.plots.spaces import architectures, network
from nasedu.plots.structures import structures
from nasedu.plots.tables import price_map
from nasedu.plots.units import bottlenecks, branches

__all__ = ["OPERATIONS", "ORDERED", "Interval", "Picture", "agreement", "anytime", "architectures", "bars", "blocks"]
__all__ += ["bottlenecks", "branches", "budget_hits", "cells", "detections", "dots", "genes", "heat", "histogram"]
__all__ += ["images", "landscape", "lines", "network", "price_map", "probabilities", "progress", "proxy_heatmap"]
__all__ += ["proxy_mix", "scatter", "scenes", "stacks", "structures"]
