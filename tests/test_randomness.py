"""The borrowed random state: seeded inside, untouched outside, one thread at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from nasedu.randomness import seeded


def draw(seed):
    with seeded(seed):
        return torch.randn(1000).tolist()


def test_it_is_seeded_inside_and_untouched_outside():
    before = torch.get_rng_state()
    assert draw(3) == draw(3) != draw(4)
    assert torch.equal(torch.get_rng_state(), before)


def test_it_is_put_back_after_an_error():
    before = torch.get_rng_state()

    def fail():
        with seeded(1):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_take_turns():
    alone = [draw(seed) for seed in range(20)]
    with ThreadPoolExecutor(4) as executor:
        assert list(executor.map(draw, range(20))) == alone


def test_it_nests():
    with seeded(1):
        draw(2)
        inner = torch.randn(3)
    with seeded(1):
        assert torch.equal(torch.randn(3), inner)
