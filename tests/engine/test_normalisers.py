"""Running moments against numpy on everything at once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator

from tradeoff.engine.normalisers import CLIP, Moments, fresh_moments, normalise, scale_of, standard, update_moments


def test_merged_batches_have_the_moments_of_their_concatenation() -> None:
    # The start is worth 1e-4 samples of mean 0 and variance 1; with n samples of sums s and q (of squares) the merged
    # mean is s / (n + 1e-4), the merged mean square (q + 1e-4) / (n + 1e-4). Offsets of 1e3 punish cancellation.
    generator = Generator().manual_seed(0)
    sizes = (5, 1, 64, 17)
    batches = [torch.randn(n, 2, 3, 4, generator=generator).double() * n + 1000 for n in sizes]  # [n, P, B, d]
    moments = fresh_moments(2, 4)
    for batch in batches:
        moments = update_moments(moments, batch)
    every = torch.cat(batches).movedim(1, 0).flatten(1, 2).numpy()  # [P, samples, d]
    n = every.shape[1] + 1e-4
    mean = every.sum(1) / n
    variance = (np.square(every - mean[:, None]).sum(1) + 1e-4 * (1 + mean**2)) / n
    torch.testing.assert_close(moments.weight, torch.full((2,), n, dtype=torch.float64), rtol=1e-14, atol=0)
    torch.testing.assert_close(moments.mean, torch.from_numpy(mean), rtol=1e-13, atol=0)
    torch.testing.assert_close(moments.variance, torch.from_numpy(variance), rtol=1e-10, atol=0)


def test_policies_have_moments_of_their_own() -> None:
    # Policy 0 sees 1 and 3: mean 2, variance 1. Policy 1 sees 10 and 10: mean 10, variance 0.
    batch = torch.tensor([[[1.0], [10.0]], [[3.0], [10.0]]])  # [n = 2, P = 2, d = 1]
    start = Moments(torch.zeros(2).double(), torch.zeros(2, 1).double(), torch.ones(2, 1).double())
    moments = update_moments(start, batch)
    assert moments.weight.tolist() == [2, 2]
    assert moments.mean.tolist() == [[2], [10]] and moments.variance.tolist() == [[1], [0]]
    assert scale_of(moments).tolist() == [[(1 + 1e-8) ** 0.5], [1e-4]]


def test_normalise_centres_scales_and_cuts() -> None:
    # Mean 2, standard deviation 4: 10 -> 2, 0 -> -1/2, 1000 -> 249.5, cut to 10, -1000 -> cut to -10.
    count = torch.full((1,), 1e3).double()
    moments = Moments(count, torch.tensor([[2.0]]).double(), torch.tensor([[16.0 - 1e-8]]).double())
    x = torch.tensor([10.0, 0.0, 1000.0, -1000.0]).view(1, 4, 1)
    seen = normalise(x, standard(moments)).flatten()
    assert CLIP == 10.0
    torch.testing.assert_close(seen, torch.tensor([2.0, -0.5, 10.0, -10.0]))
    assert x.flatten().tolist() == [10.0, 0.0, 1000.0, -1000.0], "the observation itself must stay"
