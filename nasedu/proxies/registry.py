"""All proxies by name: what each needs, and how to ask one, or several that share their passes.

Higher is better for every proxy. A network that a proxy cannot score is a `ProxyError` from `score` and a flagged
-inf, which ranks last, from `score_all`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nasedu.errors import NaseduError, ParameterError, ProxyError, UnknownName, check_has, check_name, check_whole
from nasedu.modules import hidden, reason
from nasedu.proxies.batch import Batch, as_batch
from nasedu.proxies.probe import BY_LOSS, NO_LABELS, Probe
from nasedu.randomness import seeded, stream
from nasedu.ranking.combine import COMPOSITES
from nasedu.registry import Registry, check_options

NEEDS = ("nothing", "shape", "images", "labels")
MOST_SEED = (1 << 63) - 1


@dataclass(frozen=True)
class Proxy:
    """What is known of a proxy before it runs; `function(probe, **options)` returns its value.

    `needs`: "nothing", "shape" (of the images alone), "images", or "labels" as well. `passes`: what it costs, in
    words. `reads`: the probe's readings that it shares with others. `least`: the fewest images that mean anything.
    """

    name: str
    function: Callable[..., float]
    needs: str
    passes: str
    reads: frozenset[str]
    least: int

    @property
    def options(self) -> dict[str, object]:
        """The named options and their defaults."""
        parameters = list(inspect.signature(self.function).parameters.values())[1:]
        return {p.name: p.default for p in parameters}

    @property
    def formula(self) -> str:
        """The docstring: formula, source, options, what it cannot see."""
        return inspect.getdoc(self.function) or ""


_PROXIES: Registry = Registry("proxy")


def register(name: str, *, needs: str, passes: str, reads: Iterable[str] = (), least: int | None = None):
    """A decorator that adds `function(probe, *, option=default, ...) -> float` under `name`.

    name: of the proxy; one's own may be registered again.
    needs: one of `NEEDS`.
    passes: what it costs, in words.
    reads: the probe's readings that it shares with others.
    least: the fewest images that mean anything; None stands for 2 for a proxy that looks at images, else for 1.

    Raises `ParameterError` for a name that is one of nasedu's, `UnknownName` for a need that is none.
    """
    check_name("need of a proxy", needs, NEEDS)

    def add(function: Callable[..., float]) -> Callable[..., float]:
        if name in COMPOSITES or (name in _PROXIES and not _may_replace(_PROXIES[name].function, function)):
            raise ParameterError(f"{name!r} is one of nasedu's own proxies: register yours under another name")
        fewest = least if least is not None else 2 if needs in ("images", "labels") else 1
        _PROXIES[name] = Proxy(name, function, needs, passes, frozenset(reads), fewest)
        return function

    return add


def names() -> list[str]:
    """The proxies' names."""
    return _PROXIES.names()


def info(name: str) -> Proxy:
    """What is known of a proxy. Raises `UnknownName`, for a composite (te_nas, az_nas) as well: it scores pools."""
    if name in COMPOSITES:
        parts, method = COMPOSITES[name]
        raise UnknownName(
            f"{name!r} is a rank over a pool, no score of one network: score its parts ({', '.join(parts)}), or use "
            f"score_pool, or a search that scores all parts with combine={method!r}"
        )
    return _PROXIES[name]


class Scores(dict):
    """Score by proxy name; -inf where there is none, and then `errors` has a sentence under the same name."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.errors: dict[str, str] = {}


def score(
    name: str,
    model: nn.Module,
    batch: Batch | Tensor | tuple[Tensor, Tensor],
    *,
    seed: int = 0,
    generator: torch.Generator | None = None,
    keep: bool = True,
    **options,
) -> float:
    """One proxy of `model` on `batch`; higher is better, -inf where the definition says so.

    name: of the proxy.
    model: the network.
    batch: images (B, C, H, W), or a pair of images and labels (B,).
    seed: all randomness comes from it, and from the kind of device, on which weights and images are drawn.
    generator: on the CPU, makes the proxy's own draws in its place, so that they can be compared, while layers that
        draw, such as dropout, go on following `seed`.
    keep: False gives the model away, which saves copying one that was built only to be scored; else it stays as it is.
    options: the proxy's own, see `info(name).options`.

    Raises `UnknownName`; `ParameterError` for a model, seed or batch that does not fit; `ProxyError` where the network
    cannot be scored or the result is no number.
    """
    proxy, batch = info(name), as_batch(batch)
    _check(proxy, batch, options)
    seed = check_whole("seed", seed, 0, MOST_SEED)
    probe = Probe(model, batch, seed=seed, generator=generator, wanted=proxy.reads, given_away=not keep)
    return _value(proxy, probe, options)


def score_all(
    model: nn.Module,
    batch: Batch | Tensor | tuple[Tensor, Tensor],
    names: str | Iterable[str],
    *,
    seed: int = 0,
    options: Mapping[str, Mapping] | None = None,
) -> Scores:
    """Several proxies of `model` on `batch`, each the same as `score` gives, in as few passes as they need together.

    model: the network.
    batch: images (B, C, H, W), or a pair of images and labels (B,).
    names: of the proxies.
    seed: all randomness comes from it.
    options: by proxy, its own.

    A proxy that fails scores -inf and is explained in `.errors`; so is one whose score is -inf by definition. Raises
    `UnknownName` and `ParameterError` as `score` does: what the caller got wrong is no fault of the network.
    """
    check_has("proxies", names, ["__iter__"], "names in a list")
    names = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    batch, options, seed = as_batch(batch), options or {}, check_whole("seed", seed, 0, MOST_SEED)
    for name in options:
        check_name("proxy with options", name, names)
    proxies = [info(name) for name in names]
    for proxy in proxies:
        _check(proxy, batch, options.get(proxy.name, {}))
    found = Scores.fromkeys(names, -math.inf)
    wanted = frozenset().union(*(proxy.reads for proxy in proxies))
    probe = Probe(model, batch, seed=seed, wanted=wanted)
    for proxy in sorted(proxies, key=lambda p: not p.reads):
        if not proxy.reads:
            probe = Probe(model, batch, seed=seed)  # in place of the one before, whose readings are no longer needed
        try:
            found[proxy.name] = _value(proxy, probe, options.get(proxy.name, {}))
        except ProxyError as error:
            found.errors[proxy.name] = str(error)
        else:
            if found[proxy.name] == -math.inf:
                found.errors[proxy.name] = f"{proxy.name} is -inf by its definition"
    return found


def _check(proxy: Proxy, batch: Batch, options: Mapping) -> None:
    check_options(proxy.name, options, proxy.options)
    if len(batch) < proxy.least:
        why = "runs in training mode, with batch normalisation over" if proxy.reads & BY_LOSS else "compares"
        raise ParameterError(f"{proxy.name} {why} images: it needs a batch of at least {proxy.least}, got {len(batch)}")
    if proxy.needs == "labels" and batch.labels is None:
        raise ParameterError(f"{proxy.name}: {NO_LABELS}")


def _value(proxy: Proxy, probe: Probe, options: Mapping) -> float:
    """The proxy's value, whatever the caller's gradient mode or autocast, with the global random state put back.

    Raises `ProxyError` for NaN and +inf, and where the network itself fails or hides its layers.
    """
    if why := hidden(probe.original):
        raise ProxyError(why)
    probe.start(stream(probe.seed, "proxy", proxy.name).initial_seed())  # the same draws whoever runs beside it
    try:
        with (
            torch.inference_mode(False),
            torch.autocast("cuda" if probe.device.type == "cuda" else "cpu", enabled=False),
            seeded(probe.own_seed, probe.device),  # for layers that draw, such as dropout
        ):
            value = float(proxy.function(probe, **options))
    except NaseduError:
        raise
    except Exception as error:
        kind, said = type(probe.original).__name__, f"{type(error).__name__}: {reason(error)}"
        raise ProxyError(f"{proxy.name} could not run this {kind}: {said}") from error
    if math.isnan(value) or value == math.inf:
        raise ProxyError(f"{proxy.name} is {value} for this {type(probe.original).__name__}")
    return value


def _may_replace(old: Callable, new: Callable) -> bool:
    """Whether `old` is no proxy of the package's own, or `new` is the same one in a module that is loaded again."""
    ours = old.__module__.startswith("nasedu.")
    return not ours or (old.__module__, old.__qualname__) == (new.__module__, new.__qualname__)
