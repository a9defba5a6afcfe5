"""What an architecture costs: counted, measured, looked up."""

from nasedu.hardware import losses
from nasedu.hardware.additivity import (
    Additivity,
    Correction,
    compare,
    correct,
    measure_networks,
    random_networks,
    study,
)
from nasedu.hardware.backends import BACKENDS
from nasedu.hardware.budget import Budget
from nasedu.hardware.count import Cost, Count, LayerCost, count
from nasedu.hardware.foreign import read_ofa, read_wzdnas
from nasedu.hardware.latency import Latency, NoisyMeasurement, measure
from nasedu.hardware.lookup import latency_table, read_table, stored
from nasedu.hardware.losses import HardwareLoss
from nasedu.hardware.matrix_file import read_csv, write_csv
from nasedu.hardware.table import LookupTable, TableStack

__all__ = [
    "BACKENDS",
    "Additivity",
    "Budget",
    "Correction",
    "Cost",
    "Count",
    "HardwareLoss",
    "Latency",
    "LayerCost",
    "LookupTable",
    "NoisyMeasurement",
    "TableStack",
    "compare",
    "correct",
    "count",
    "latency_table",
    "losses",
    "measure",
    "measure_networks",
    "random_networks",
    "read_csv",
    "read_ofa",
    "read_table",
    "read_wzdnas",
    "stored",
    "study",
    "write_csv",
]
