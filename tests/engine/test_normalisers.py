"""Running moments against numpy on everything at once."""

from __future__ import annotations

import torch
from torch import Generator

from tradeoff.engine.normalisers import (
    CLIP,
    Moments,
    fresh_moments,
    normalise,
    scale_of,
    standard,
    unit_moments,
    update_moments,
)


def test_merged_batches_have_the_moments_of_their_concatenation() -> None:
    # Offsets of 1e3 punish cancellation.
    generator = Generator().manual_seed(0)
    sizes = (5, 1, 64, 17)
    batches = [torch.randn(n, 2, 3, 4, generator=generator).double() * n + 1000 for n in sizes]  # [n, P, B, d]
    moments = fresh_moments(2, 4)
    for batch in batches:
        moments = update_moments(moments, batch)
    every = torch.cat(batches).movedim(1, 0).flatten(1, 2).numpy()  # [P, samples, d]
    mean, variance = every.mean(1), every.var(1)
    assert moments.weight.tolist() == [every.shape[1]] * 2
    torch.testing.assert_close(moments.mean, torch.from_numpy(mean), rtol=1e-13, atol=0)
    torch.testing.assert_close(moments.variance, torch.from_numpy(variance), rtol=1e-10, atol=0)


def test_policies_have_moments_of_their_own() -> None:
    # Policy 0 sees 1 and 3: mean 2, variance 1. Policy 1 sees 10 and 10: mean 10, variance 0.
    batch = torch.tensor([[[1.0], [10.0]], [[3.0], [10.0]]])  # [n = 2, P = 2, d = 1]
    start = Moments(torch.zeros(2).double(), torch.zeros(2, 1).double(), torch.ones(2, 1).double())
    moments = update_moments(start, batch)
    assert moments.weight.tolist() == [2, 2]
    assert moments.mean.tolist() == [[2], [10]] and moments.variance.tolist() == [[1], [0]]
    assert scale_of(moments).tolist() == [[1.0], [0.0]]


def test_what_never_differed_has_no_scale_in_any_unit() -> None:
    # Columns: nothing; 1/3, whose sums round; thousandths that differ; all in three units.
    column = torch.tensor([1.0, 2.0, 4.0, 8.0])
    rows = torch.stack([0 * column, 0 * column + 1 / 3, 1e-3 * column], -1).unsqueeze(1)
    for unit in (1e-6, 1.0, 1e6):
        moments = update_moments(fresh_moments(1, 3), rows * unit)
        assert ((scale_of(moments) > 0) == torch.tensor([[False, False, True]])).all()
        seen = normalise(2 * unit * rows.movedim(1, 0), standard(moments))
        assert seen[..., :2].abs().sum() == 0 and seen[..., 2].abs().sum() > 1


def test_unseen_observations_are_shown_as_nothing_and_unit_moments_leave_them() -> None:
    x = torch.tensor([[[0.25, -3.0]]])
    assert normalise(x, standard(fresh_moments(1, 2))).tolist() == [[[0.0, 0.0]]]
    assert normalise(x, standard(unit_moments(fresh_moments(1, 2)))).tolist() == x.tolist()


def test_normalise_centres_scales_and_cuts() -> None:
    # Mean 2, standard deviation 4: 10 -> 2, 0 -> -1/2, 1000 -> 249.5, cut to 10, -1000 -> cut to -10.
    count = torch.full((1,), 1e3).double()
    moments = Moments(count, torch.tensor([[2.0]]).double(), torch.tensor([[16.0]]).double())
    x = torch.tensor([10.0, 0.0, 1000.0, -1000.0]).view(1, 4, 1)
    seen = normalise(x, standard(moments)).flatten()
    assert CLIP == 10.0
    torch.testing.assert_close(seen, torch.tensor([2.0, -0.5, 10.0, -10.0]))
    assert x.flatten().tolist() == [10.0, 0.0, 1000.0, -1000.0], "the observation itself must stay"
