"""Softmax and Gumbel softmax: what their samples' arg max and their limits are, and what they are not."""

from __future__ import annotations

import pytest
import torch

from nasedu.errors import ParameterError
from nasedu.sampling import annealed, gumbel_noise, gumbel_softmax, one_hot, softmax, uniform_logits

P = torch.tensor([0.2, 0.3, 0.5])
MANY = P.log().expand(100_000, 3)


def shares(samples: torch.Tensor) -> torch.Tensor:
    return samples.argmax(-1).bincount(minlength=3) / len(samples)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
def test_the_arg_max_of_gumbel_softmax_follows_the_softmax_at_any_temperature(generator, temperature):
    (samples,) = gumbel_softmax([MANY], temperature, generator)
    assert (shares(samples) - P).abs().max() < 0.005
    assert torch.allclose(samples.sum(-1), torch.ones(len(samples)), atol=1e-5)
    (plain,) = softmax([MANY], temperature)  # without noise the likeliest choice always wins
    assert shares(plain).tolist() == [0, 0, 1]


def test_noise_inside_the_exponential_but_not_under_the_temperature_is_wrong(generator):
    """exp(alpha + g / T), as one public code prints it, has another arg max."""
    wrong = MANY + gumbel_noise(MANY.shape, generator) / 5
    assert (shares(wrong) - P).abs().max() > 0.1


def test_limits_of_the_temperature(generator):
    (hot,) = gumbel_softmax([MANY], 1e4, generator)
    assert (hot - 1 / 3).abs().max() < 0.01
    (cold,) = gumbel_softmax([MANY], 1e-3, generator)
    assert (cold.max(-1).values > 0.99).float().mean() > 0.99 and (cold.mean(0) - P).abs().max() < 0.005
    (soft,) = gumbel_softmax([MANY], 1.0, generator)
    assert (soft.mean(0) - P).abs().max() > 0.01  # in between, the mean of samples is not the softmax


def test_gumbel_noise_has_its_mean_and_variance_and_its_generator(generator):
    state = torch.get_rng_state()
    noise = gumbel_noise((100_000,), generator)
    assert float(noise.mean()) == pytest.approx(0.5772, abs=0.02)
    assert float(noise.var()) == pytest.approx(torch.pi**2 / 6, rel=0.02)
    assert torch.equal(noise, gumbel_noise((100_000,), torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), state)


def test_uniform_logits_one_hot_and_annealing():
    weights = softmax(uniform_logits([2, 5]))
    assert [w.tolist() for w in weights] == [[0.5] * 2, pytest.approx([0.2] * 5)]
    assert [w.tolist() for w in one_hot((1, 0), [2, 3])] == [[0, 1], [1, 0, 0]]
    assert annealed(5, 0.2, 0) == 5 and annealed(5, 0.2, 1) == pytest.approx(0.2)
    assert annealed(5, 0.2, 0.5) == pytest.approx(1.0)


def test_a_temperature_must_be_positive(generator):
    for temperature in (0, -1, float("nan")):
        with pytest.raises(ParameterError, match="temperature must be a number above 0"):
            softmax([P], temperature)
        with pytest.raises(ParameterError, match="temperature must be a number above 0"):
            gumbel_softmax([P], temperature, generator)
