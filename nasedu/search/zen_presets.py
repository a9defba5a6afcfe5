"""The searches that Zen-NAS's authors published, as data: where each starts, in which space, and within what.

Facts from idstcv/ZenNAS, scripts/*.sh. The limits there are of the authors' own formulas, which count a little less
than the truth; here they bound the true counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from nasedu.errors import check_name
from nasedu.spaces.plainnet.published import CIFAR_SEED, LATENCY_SEED, MACS_SEED
from nasedu.spaces.plainnet.space import PlainArch, PlainNetSpace


class ZenPreset(NamedTuple):
    """A search: the structure that it starts from, the options of its space, the limits of its `PlainBudget`.

    `proxy` scores it on `batch` images. A limit of `latency_ms` is per image in a batch of 64, half precision, on a
    V100; `PlainBudget` needs a `latency` that tells as much of your device.
    """

    start: str
    space: Mapping[str, object]
    limits: Mapping[str, float]
    proxy: str = "zen"
    batch: int = 64


def _frozen(**values) -> Mapping:
    return MappingProxyType(values)


_CIFAR = _frozen(blocks="xxbl", input_size=32, num_classes=100)
_XXBL = _frozen(blocks="xxbl", input_size=224, num_classes=1000)
_IDW = _frozen(blocks="idw", input_size=224, num_classes=1000)
_CIFAR_1M = _frozen(params=1e6, layers=18)

# The nine CIFAR searches: name of the script, and the proxy here. Three of them are not what their name says: the
# public "Syncflow" keeps BN and flips the sign, "TE-NAS" is the condition number alone, NASWOT has 8 noise images.
ZEN_PRESETS: Mapping[str, ZenPreset] = MappingProxyType(
    {
        "cifar 1M": ZenPreset(CIFAR_SEED, _CIFAR, _CIFAR_1M),
        "cifar 2M": ZenPreset(CIFAR_SEED, _CIFAR, _frozen(params=2e6, layers=20)),
        "cifar 1M flops": ZenPreset(CIFAR_SEED, _CIFAR, _CIFAR_1M, "macs"),
        "cifar 1M params": ZenPreset(CIFAR_SEED, _CIFAR, _CIFAR_1M, "params"),
        "cifar 1M random": ZenPreset(CIFAR_SEED, _CIFAR, _CIFAR_1M, "random"),
        "cifar 1M grad_norm": ZenPreset(CIFAR_SEED, _CIFAR, _CIFAR_1M, "grad_norm"),
        "cifar 1M synflow": ZenPreset(CIFAR_SEED, _CIFAR, _CIFAR_1M, "synflow"),
        "cifar 1M te_nas": ZenPreset(CIFAR_SEED, _CIFAR, _CIFAR_1M, "ntk"),
        "cifar 1M naswot": ZenPreset(CIFAR_SEED, _CIFAR, _CIFAR_1M, "naswot", 8),
        "imagenet 400M": ZenPreset(MACS_SEED, _IDW, _frozen(macs=400e6, layers=14)),
        "imagenet 600M": ZenPreset(MACS_SEED, _IDW, _frozen(macs=600e6, layers=14)),
        "imagenet 800M": ZenPreset(MACS_SEED, _IDW, _frozen(macs=800e6, layers=16)),
        "imagenet 0.1ms": ZenPreset(LATENCY_SEED, _XXBL, _frozen(latency_ms=0.1, layers=10)),
        "imagenet 0.2ms": ZenPreset(LATENCY_SEED, _XXBL, _frozen(latency_ms=0.2, layers=13)),
        "imagenet 0.3ms": ZenPreset(LATENCY_SEED, _XXBL, _frozen(latency_ms=0.3, layers=16)),
        "imagenet 0.5ms": ZenPreset(LATENCY_SEED, _XXBL, _frozen(latency_ms=0.5, layers=20)),
        "imagenet 0.8ms": ZenPreset(LATENCY_SEED, _XXBL, _frozen(latency_ms=0.8, layers=25)),
        "imagenet 1.2ms": ZenPreset(LATENCY_SEED, _XXBL, _frozen(latency_ms=1.2, layers=30)),
    }
)


def zen_preset(name: str) -> tuple[PlainNetSpace, PlainArch, dict[str, float]]:
    """The space, the start and the `PlainBudget` limits of a published search. Raises `UnknownName`."""
    preset = ZEN_PRESETS[check_name("published search", name, ZEN_PRESETS)]
    space = PlainNetSpace(**preset.space)
    return space, space.parse(preset.start), dict(preset.limits)
