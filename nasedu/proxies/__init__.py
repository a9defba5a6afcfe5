"""How good a network is without training it: one file per idea."""

from nasedu.proxies.naswot import AgreementKernel, agreement, log_det, naswot
from nasedu.proxies.saliency import snip, synflow

__all__ = ["AgreementKernel", "agreement", "log_det", "naswot", "snip", "synflow"]
