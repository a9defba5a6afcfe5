"""What a layer costs on paper: multiply-accumulates and parameters."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """`macs`: multiply-accumulates of convolution and linear layers for one input; `params`: trainable parameters."""

    macs: int
    params: int

    @property
    def flops(self) -> int:
        """2 * macs, by definition."""
        return 2 * self.macs

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.macs + other.macs, self.params + other.params)
