"""Counted random numbers against published outputs, closed forms and NumPy-free arithmetic."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy import stats

from tradeoff.envs.seeding import GOLDEN, Counters, mix, normal, poisson, seeded

COUNT = 200_000


def test_mix_gives_the_published_outputs_of_splitmix64():
    # SplitMix64 seeded with 0 starts e220a839..., 6e789e6a..., 06c45d18...; its state grows by GOLDEN each time.
    states = torch.tensor([0, GOLDEN, 2 * GOLDEN % 2**64 - (2**64 if 2 * GOLDEN % 2**64 >= 2**63 else 0)])
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [x % 2**64 for x in mix(states).tolist()] == published


def test_uniform_keeps_the_upper_53_bits():
    # The exact values for key 0: number n is the upper 53 bits of mix(0 ^ n), here from the published mix(0).
    drawn = Counters(torch.tensor([0]), torch.tensor([0])).uniform(1)
    assert drawn.item() == (0xE220A8397B1DCDAF >> 11) / 2**53


def test_keys_and_numbers_in_plain_integers():
    def scramble(x):
        z = (x + 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return z ^ z >> 31

    keys = [scramble((scramble(seed) + 0x9E3779B97F4A7C15) % 2**64) for seed in (41, 42)]
    expected = [[(scramble(key ^ n) >> 11) / 2**53 for n in range(3)] for key in keys]
    assert seeded(41, 2, "cpu").uniform(3).tolist() == expected


def test_uniform_numbers_are_uniform():
    drawn = seeded(0, COUNT // 100, "cpu").uniform(100).numpy().ravel()
    assert drawn.min() >= 0 and drawn.max() < 1
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3
    counts = np.bincount((drawn * 256).astype(int), minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_neighbours_and_followers_are_uncorrelated():
    drawn = seeded(5, 1000, "cpu").uniform(200).numpy() - 0.5
    for a, b in ((drawn[1:], drawn[:-1]), (drawn[:, 1:], drawn[:, :-1]), (drawn[1:, 1:], drawn[:-1, :-1])):
        z = (a * b).mean() * 12 * np.sqrt(a.size)  # variance of a product of two: (1/12)^2
        assert abs(z) < 4


def test_low_bits_are_fair():
    bits = (seeded(9, 1000, "cpu").uniform(100) * 2**53).long() & 1
    assert abs(bits.double().mean().item() - 0.5) < 4 * 0.5 / np.sqrt(bits.numel())


def test_a_stream_depends_on_its_seed_alone():
    many = seeded(10, 50, "cpu")
    alone = seeded([13], 1, "cpu")
    assert [many.uniform(w)[3].tolist() for w in (2, 1, 4)] == [alone.uniform(w)[0].tolist() for w in (2, 1, 4)]


def test_drawing_at_once_or_in_parts_is_the_same():
    whole, parts = seeded(1, 4, "cpu").uniform(6), seeded(1, 4, "cpu")
    assert torch.equal(whole, torch.cat([parts.uniform(2), parts.uniform(3), parts.uniform(1)], 1))


def test_only_the_streams_that_draw_move():
    some, where = seeded(1, 4, "cpu"), torch.tensor([True, False, True, False])
    some.uniform(3, where)
    assert some.count.tolist() == [3, 0, 3, 0]
    rows = torch.tensor([1, 2])
    drawn = some.at(rows, 2)
    assert some.count.tolist() == [3, 2, 5, 0]
    assert torch.equal(drawn[0], seeded(2, 1, "cpu").uniform(2)[0])  # stream 1 starts
    assert torch.equal(drawn[1], seeded(3, 1, "cpu").uniform(5)[0, 3:])  # stream 2 goes on


@pytest.mark.parametrize(("seed", "same"), [(np.int64(7), 7), (2**64 + 7, 7), (-1, 2**64 - 1), (np.array([7, 8]), 7)])
def test_seeds_of_any_integer_kind(seed, same):
    assert seeded(seed, 2, "cpu").key.tolist() == seeded(same, 2, "cpu").key.tolist()
    assert len(set(seeded(seed, 2, "cpu").key.tolist())) == 2


def test_seeds_are_told_apart_by_all_their_64_bits():
    assert len(set(seeded([0, 2**31, 2**32, 2**62, 2**63], 5, "cpu").key.tolist())) == 5


def test_wrong_number_of_seeds():
    with pytest.raises(ValueError, match="3 seeds were given for 2 environments"):
        seeded([1, 2, 3], 2, "cpu")


def test_normal_numbers_are_the_inverse_distribution_function():
    at = torch.tensor([1e-6, 0.025, 0.5, 0.8413447460685429, 0.999], dtype=torch.float64)
    exact = [NormalDist().inv_cdf(u) for u in at.tolist()]
    np.testing.assert_allclose(normal(at), exact, rtol=1e-9, atol=1e-12)
    ends = normal(torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64))
    assert torch.isfinite(ends).all() and ends[0] < -8 and ends[1] > 8


def test_poisson_numbers_are_the_inverse_distribution_function():
    uniform = torch.linspace(0, 0.9999, 5001, dtype=torch.float64)[:, None].expand(-1, 3)
    rate = torch.tensor([0.05, 0.6, 3.0], dtype=torch.float64)
    expected = np.maximum(stats.poisson.ppf(uniform.numpy(), rate.numpy()), 0)  # scipy says -1 at 0
    np.testing.assert_array_equal(poisson(uniform, rate, 20), expected)
    assert poisson(uniform[-1:], rate, 2).tolist() == [[2.0, 2.0, 2.0]]  # cut: 0.9999 alone would give 2, 5, 11
