"""Random numbers by counting: the n-th number of environment i is a function of its seed and n alone.

So results do not depend on the number of environments, on their neighbours or on the device, and the whole state of N
generators is two integer tensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from tradeoff.envs.errors import BadValue


def _signed(x: int) -> int:
    return x - (1 << 64) if x >= 1 << 63 else x


GOLDEN = _signed(0x9E3779B97F4A7C15)
FIRST = _signed(0xBF58476D1CE4E5B9)
SECOND = _signed(0x94D049BB133111EB)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical shift to the right (PyTorch's own keeps the sign)."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def mix(x: Tensor) -> Tensor:
    """Scramble int64 tensors: the output function of SplitMix64. Source: Steele, Lea and Flood 2014, OOPSLA."""
    z = x + GOLDEN
    z = (z ^ _shift(z, 30)) * FIRST
    z = (z ^ _shift(z, 27)) * SECOND
    return z ^ _shift(z, 31)


@dataclass
class Counters:
    """N independent streams."""

    key: Tensor  # [N] int64, seeds scrambled twice: those of neighbours have nothing in common
    count: Tensor  # [N] int64, numbers drawn so far

    def uniform(self, width: int, where: Tensor | None = None) -> Tensor:
        """Draw [N, width] numbers in [0, 1), 53 bits each; streams outside `where` [N] bool do not move."""
        index = torch.arange(width, device=self.key.device)
        bits = mix(self.key.unsqueeze(1) ^ (self.count.unsqueeze(1) + index))
        self.count = self.count + (width if where is None else width * where)
        return _shift(bits, 11).double() * 2.0**-53

    def at(self, rows: Tensor, width: int) -> Tensor:
        """Draw [len(rows), width] numbers for some streams only; the others do not move."""
        part = Counters(self.key[rows], self.count[rows])
        drawn = part.uniform(width)
        self.count = self.count.index_put((rows,), part.count)
        return drawn


def seeded(seed: int | Sequence[int], count: int, device: torch.device | str) -> Counters:
    """Streams for `count` environments: seed s gives s, s + 1, ...; a sequence gives each its own, modulo 2^64.

    Raises: BadValue when a sequence has another length.
    """
    if isinstance(seed, (int, Integral)):  # NumPy's integers are Integral only
        seed = [int(seed) + i for i in range(count)]
    seeds = [int(s) for s in seed]
    if len(seeds) != count:
        raise BadValue(f"{len(seeds)} seeds were given for {count} environments; give one each, or a single number")
    key = mix(torch.tensor([_signed(s % (1 << 64)) for s in seeds], dtype=torch.int64, device=device))
    key = mix(key + GOLDEN)
    return Counters(key, torch.zeros_like(key))


def normal(uniform: Tensor) -> Tensor:
    """Standard normal numbers by the inverse distribution function, one per uniform number."""
    return math.sqrt(2.0) * torch.erfinv(2.0 * uniform.clamp(1e-16, 1 - 1e-16) - 1.0)


def poisson(uniform: Tensor, rate: Tensor, largest: int) -> Tensor:
    """Poisson numbers by the inverse distribution function, cut at `largest` < 256; rate is broadcast to uniform."""
    term = torch.exp(-rate)
    below, found = term, torch.zeros_like(uniform, dtype=torch.uint8)  # small numbers add fastest
    for k in range(1, largest + 1):
        found += (uniform >= below).view(torch.uint8)
        term = term * rate / k
        below = below + term
    return found.to(uniform.dtype)
