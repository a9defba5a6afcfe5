"""What an architecture costs: counted, measured, looked up."""

from nasedu.hardware.count import Cost, count
from nasedu.hardware.latency import Latency, measure
from nasedu.hardware.lookup import latency_table
from nasedu.hardware.losses import HardwareTerm, target_loss
from nasedu.hardware.table import LookupTable, TableStack

__all__ = [
    "Cost",
    "HardwareTerm",
    "Latency",
    "LookupTable",
    "TableStack",
    "count",
    "latency_table",
    "measure",
    "target_loss",
]
