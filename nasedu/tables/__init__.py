"""What an architecture costs: one table, where its figures come from, losses and budgets of it, what lies within."""

from nasedu.tables import losses
from nasedu.tables.additivity import (
    Additivity,
    Correction,
    compare,
    correct,
    measure_networks,
    random_networks,
    study,
)
from nasedu.tables.budget import Budget
from nasedu.tables.csv import write_csv
from nasedu.tables.derive import Derived, derive, nearest
from nasedu.tables.estimate import Estimate, estimate
from nasedu.tables.lookup import latency_table, read_table, stored
from nasedu.tables.losses import HardwareLoss
from nasedu.tables.table import LookupTable, TableStack
from nasedu.tables.within import Constraint, at_most, within

__all__ = [
    "Additivity",
    "Budget",
    "Constraint",
    "Correction",
    "Derived",
    "Estimate",
    "HardwareLoss",
    "LookupTable",
    "TableStack",
    "at_most",
    "compare",
    "correct",
    "derive",
    "estimate",
    "latency_table",
    "losses",
    "measure_networks",
    "nearest",
    "random_networks",
    "read_table",
    "stored",
    "study",
    "within",
    "write_csv",
]
