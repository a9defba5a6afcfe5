"""What one module costs on one device: counted, measured, exported."""

from nasedu.hardware.backends import BACKENDS
from nasedu.hardware.count import Count, count
from nasedu.hardware.latency import Latency, NoisyMeasurement, measure

__all__ = [
    "BACKENDS",
    "Count",
    "Latency",
    "NoisyMeasurement",
    "count",
    "measure",
]
