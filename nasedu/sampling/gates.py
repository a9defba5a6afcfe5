"""Binary gates (ProxylessNAS, section 3.2): one operation runs, yet every logit gets a gradient.

The gate g is one-hot, drawn from p = softmax(alpha). Its gradient is passed on to p as it is, hence
dL/dalpha_i = sum_j dL/dg_j p_j (delta_ij - p_i).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nasedu.errors import check_name
from nasedu.sampling.relax import gumbel_noise
from nasedu.supernet.mixed import Subset

MODES = ("full", "two")


def binary_gates(logits: Sequence[Tensor], generator: torch.Generator, mode: str = "full") -> list[Tensor | Subset]:
    """Gates per decision. Raises `UnknownName` for a mode.

    logits: (n_choices,) per decision.
    generator: draws the gates.
    mode: "full": one-hot weights (n_choices,), drawn from p. While logits require a gradient a supernet runs every
        operation, since each gate's gradient needs its output. Over many draws the output is sum_i p_i o_i on
        average. "two": a `Subset` of two choices, drawn from p without replacement, of which one is active with p
        renormalised over the pair: two operations run, whatever their number. Call `renormalise` after the
        optimizer's step.
    """
    check_name("mode of binary gates", mode, MODES)
    if mode == "full":
        return [_gate(a, generator) for a in logits]
    return [_pair(a, generator) for a in logits]


@torch.no_grad()
def renormalise(logits: Sequence[Tensor], before: Sequence[Tensor], sampled: Sequence[Subset]) -> None:
    """After an optimizer's step on gates of mode "two", keep the probabilities of choices that were not drawn.

    From both logits of a pair, log(sum of e^new / sum of e^old) is taken off in place; the other logits become what
    they were, should the optimizer's momentum or weight decay have moved them.

        logits: (n_choices,) per decision, changed in place.
        before: copies of them from before the step.
        sampled: the path that `binary_gates` returned.
    """
    for new, old, subset in zip(logits, before, sampled, strict=True):
        index = torch.tensor(subset.indices, device=new.device)
        grown = new[index].logsumexp(0) - old[index].logsumexp(0)
        new.copy_(old.index_put((index,), new[index] - grown))


def _draw(logits: Tensor, generator: torch.Generator, count: int) -> Tensor:
    """`count` different choices (count,) drawn from softmax(logits), in order: the Gumbel top-k trick.

    Unlike a draw from the probabilities it cannot fail where softmax underflows to 0.
    """
    return (logits.detach() + gumbel_noise(logits.shape, generator).to(logits)).topk(count).indices


def _gate(logits: Tensor, generator: torch.Generator) -> Tensor:
    p = torch.softmax(logits, -1)
    hard = torch.nn.functional.one_hot(_draw(logits, generator, 1)[0], len(p)).to(p)
    return hard + (p - p.detach())  # in this order the value is exactly one-hot


def _pair(logits: Tensor, generator: torch.Generator) -> Subset:
    index = _draw(logits, generator, min(2, len(logits))).sort().values
    return Subset(tuple(index.tolist()), _gate(logits[index], generator))
