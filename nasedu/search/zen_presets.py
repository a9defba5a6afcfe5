"""The searches that Zen-NAS's authors published, as data: where each starts, in which space, and within what.

Facts from idstcv/ZenNAS, scripts/*.sh. The limits there are of the authors' own formulas, which count a little less
than the truth; here they bound the true counts.
"""

from __future__ import annotations

from collections.abc import Mapping
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


_CIFAR = {"blocks": "xxbl", "input_size": 32, "num_classes": 100}
_XXBL = {"blocks": "xxbl", "input_size": 224, "num_classes": 1000}
_IDW = {"blocks": "idw", "input_size": 224, "num_classes": 1000}
_CIFAR_1M = ZenPreset(CIFAR_SEED, _CIFAR, {"params": 1e6, "layers": 18})

# The nine CIFAR searches: name of the script, and the proxy here. Three of them are not what their name says: the
# public "Syncflow" keeps BN and flips the sign, "TE-NAS" is the condition number alone, NASWOT has 8 noise images.
ZEN_PRESETS: Mapping[str, ZenPreset] = {
    "cifar 1M": _CIFAR_1M,
    "cifar 2M": ZenPreset(CIFAR_SEED, _CIFAR, {"params": 2e6, "layers": 20}),
    "cifar 1M flops": _CIFAR_1M._replace(proxy="macs"),
    **{f"cifar 1M {proxy}": _CIFAR_1M._replace(proxy=proxy) for proxy in ("params", "random", "grad_norm", "synflow")},
    "cifar 1M te_nas": _CIFAR_1M._replace(proxy="ntk"),
    "cifar 1M naswot": _CIFAR_1M._replace(proxy="naswot", batch=8),
    **{
        f"imagenet {macs}M": ZenPreset(MACS_SEED, _IDW, {"macs": macs * 1e6, "layers": layers})
        for macs, layers in {400: 14, 600: 14, 800: 16}.items()
    },
    **{
        f"imagenet {ms}ms": ZenPreset(LATENCY_SEED, _XXBL, {"latency_ms": ms, "layers": layers})
        for ms, layers in {0.1: 10, 0.2: 13, 0.3: 16, 0.5: 20, 0.8: 25, 1.2: 30}.items()
    },
}


def zen_preset(name: str) -> tuple[PlainNetSpace, PlainArch, dict[str, float]]:
    """The space, the start and the `PlainBudget` limits of a published search. Raises `UnknownName`."""
    preset = ZEN_PRESETS[check_name("published search", name, ZEN_PRESETS)]
    space = PlainNetSpace(**preset.space)
    return space, space.parse(preset.start), dict(preset.limits)
