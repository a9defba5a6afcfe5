"""Interactive figures: small widgets that draw into an HTML value, so they also work under strict notebook tests."""

from nasedu.widgets.boxes import BoxWidget
from nasedu.widgets.evolution import EvolutionWidget
from nasedu.widgets.gumbel import GumbelWidget
from nasedu.widgets.hardware_cost import BlockCostWidget
from nasedu.widgets.hardware_loss import BudgetWidget
from nasedu.widgets.power import PowerWidget
from nasedu.widgets.precision import PrecisionWidget
from nasedu.widgets.proxies import ProxyMixWidget
from nasedu.widgets.ranking import RankingWidget
from nasedu.widgets.space import SpaceWidget
from nasedu.widgets.wzdnas import SearchWidget

__all__ = [
    "BlockCostWidget",
    "BoxWidget",
    "BudgetWidget",
    "EvolutionWidget",
    "GumbelWidget",
    "PowerWidget",
    "PrecisionWidget",
    "ProxyMixWidget",
    "RankingWidget",
    "SearchWidget",
    "SpaceWidget",
]
