"""The random generators that a whole process shares, one state of them per copy of an environment.

An environment that draws from `np.random`, `random` or torch's default generator instead of one of its own would else
depend on its neighbours and on what the program draws, and copies in several processes would draw the same.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

SHARED: Any = np.random  # its stubs leave out what follows


class SharedGenerators:
    """Inside `with`, the process's generators are this copy's; afterwards they are as they were before.

    A second normal number that `np.random.randn` keeps for its next call is dropped on the way in and out.
    """

    def __init__(self, seed: int, every: bool = True) -> None:
        """As `np.random.seed(seed)`, `random.seed(seed)` and `torch.manual_seed(seed)` leave them.

        every: False leaves the generators of `random` and torch alone, whose states take time to copy.
        """
        self.numpy, self.every = np.random.MT19937(), every
        state: Any = np.random.RandomState(seed % 2**32).get_state(legacy=False)
        self.numpy.state = state
        self.random, self.torch = random.Random(seed).getstate(), torch.Generator().manual_seed(seed).get_state()
        self.first = self.random, self.torch

    @property
    def moved(self) -> bool:
        """Whether something was drawn from `random` or torch."""
        return self.random != self.first[0] or not torch.equal(self.torch, self.first[1])

    def __enter__(self) -> None:
        self.outside = SHARED.get_bit_generator()
        SHARED.set_bit_generator(self.numpy)  # much faster than to copy a state
        if self.every:
            self.others = random.getstate(), torch.get_rng_state()
            random.setstate(self.random)
            torch.set_rng_state(self.torch)

    def __exit__(self, *raised: Any) -> None:
        SHARED.set_bit_generator(self.outside)
        if self.every:
            self.random, self.torch = random.getstate(), torch.get_rng_state()
            random.setstate(self.others[0])
            torch.set_rng_state(self.others[1])
