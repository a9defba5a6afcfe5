"""Which paths a training step takes: relaxations of logits, binary gates, path samplers and the step itself.

A path holds, per decision, a choice's index, a weight for each choice (n_choices,), or weights for some of them.
"""

from nasedu.sampling.gates import binary_gates, renormalise
from nasedu.sampling.relax import annealed, gumbel_noise, gumbel_softmax, one_hot, softmax, uniform_logits
from nasedu.sampling.samplers import (
    Gates,
    Gumbel,
    Pairs,
    Sampler,
    Sandwich,
    Softmax,
    StrictFairness,
    Uniform,
    create,
    names,
)
from nasedu.sampling.step import supernet_step

__all__ = [
    "Gates",
    "Gumbel",
    "Pairs",
    "Sampler",
    "Sandwich",
    "Softmax",
    "StrictFairness",
    "Uniform",
    "annealed",
    "binary_gates",
    "create",
    "gumbel_noise",
    "gumbel_softmax",
    "names",
    "one_hot",
    "renormalise",
    "softmax",
    "supernet_step",
    "uniform_logits",
]
