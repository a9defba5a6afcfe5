"""Pictures: every function returns a matplotlib figure with its alt text, which a notebook shows."""

from nasedu.plots.blocks import blocks
from nasedu.plots.cells import cells, genes
from nasedu.plots.forms import OPERATIONS, ORDERED, Interval, bars, dots, heat, histogram, lines, scatter, stacks
from nasedu.plots.images import boxes, detections, images, scenes
from nasedu.plots.picture import Picture
from nasedu.plots.search import anytime, landscape, probabilities, progress
from nasedu.plots.spaces import architectures, network, price_map
from nasedu.plots.structures import structures
from nasedu.plots.units import bottlenecks, branches

__all__ = ["OPERATIONS", "ORDERED", "Interval", "Picture", "anytime", "architectures", "bars", "blocks", "boxes"]
__all__ += ["bottlenecks", "branches", "cells", "detections", "dots", "genes", "heat", "histogram", "images"]
__all__ += ["landscape", "lines", "network", "price_map", "probabilities", "progress", "scatter", "scenes"]
__all__ += ["stacks", "structures"]
