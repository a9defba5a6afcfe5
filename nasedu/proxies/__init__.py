"""How good a network is without training it: one file per idea, one registry."""

import nasedu.proxies.az_nas
import nasedu.proxies.counts
import nasedu.proxies.deepmad
import nasedu.proxies.gradients
import nasedu.proxies.gradsign
import nasedu.proxies.jacobian
import nasedu.proxies.meco
import nasedu.proxies.ntk
import nasedu.proxies.regions
import nasedu.proxies.zen
import nasedu.proxies.zico  # noqa: F401  each registers its proxies
from nasedu.proxies.batch import Batch, as_batch
from nasedu.proxies.naswot import agreement, log_det
from nasedu.proxies.per_block import zero_cost_map
from nasedu.proxies.pool import PoolScores, score_pool
from nasedu.proxies.probe import Probe
from nasedu.proxies.registry import Proxy, info, names, register, score, score_all

__all__ = [
    "Batch",
    "PoolScores",
    "Probe",
    "Proxy",
    "agreement",
    "as_batch",
    "info",
    "log_det",
    "names",
    "register",
    "score",
    "score_all",
    "score_pool",
    "zero_cost_map",
]
