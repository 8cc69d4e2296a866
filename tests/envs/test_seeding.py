from __future__ import annotations

import math

import pytest
import torch

from envs.seeding import mix, normal, poisson, seeded


def test_mix_is_splitmix64():
    """First outputs of SplitMix64 seeded with 0 (published test values): e220a8397b1dcdaf, 6e789e6aa1b965f4."""
    states = torch.tensor([0, -7046029254386353131])  # 0 and the golden increment, 0x9e3779b97f4a7c15
    assert [x % 2**64 for x in mix(states).tolist()] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


def test_a_stream_depends_on_its_seed_and_count_alone():
    many, one = seeded(0, 50, "cpu"), seeded(17, 1, "cpu")
    first, second = many.uniform(3), many.uniform(2)
    assert torch.equal(torch.cat([first, second], 1)[17], one.uniform(5)[0])


def test_only_chosen_streams_move():
    streams = seeded(0, 4, "cpu")
    streams.uniform(2, torch.tensor([True, False, True, False]))
    drawn = streams.at(torch.tensor([1, 2]), 3)
    fresh = seeded(0, 4, "cpu").uniform(5)
    assert streams.count.tolist() == [2, 3, 5, 0]
    assert torch.equal(drawn, torch.stack([fresh[1, :3], fresh[2, 2:5]]))


def test_uniform_numbers_are_uniform_and_independent():
    """400,000 numbers: mean 1/2 +- 0.00046, variance 1/12 +- 0.00012, chi-square over 100 cells 99 +- 14, at one sigma."""
    u = seeded(0, 4000, "cpu").uniform(100)
    assert abs(u.mean().item() - 0.5) < 4 * 0.00046
    assert abs(u.var().item() - 1 / 12) < 4 * 0.00012
    cells = torch.histc(u, 100, 0, 1)
    assert ((cells - 4000) ** 2 / 4000).sum().item() < 99 + 4 * 14
    centred = u - 0.5
    neighbours = (centred[1:] * centred[:-1]).mean(), (centred[:, 1:] * centred[:, :-1]).mean()
    assert all(abs(12 * c.item()) < 4 / math.sqrt(396_000) for c in neighbours)


def test_normal_numbers():
    """Quantiles of the inverse distribution function, and moments of 400,000 numbers."""
    points = normal(torch.tensor([0.5, 0.8413447460685429, 0.0013498980316301], dtype=torch.float64))
    torch.testing.assert_close(points, torch.tensor([0.0, 1.0, -3.0], dtype=torch.float64), atol=1e-9, rtol=0)
    z = normal(seeded(1, 4000, "cpu").uniform(100))
    assert abs(z.mean().item()) < 4 / 632 and abs(z.var().item() - 1) < 4 * math.sqrt(2 / 400_000)


def test_poisson_numbers_have_the_poisson_probabilities():
    u = torch.linspace(0.0005, 0.9995, 1000, dtype=torch.float64).unsqueeze(0)
    found = poisson(u, torch.tensor(0.5, dtype=torch.float64), 12)[0]
    for k in range(4):  # e^-0.5 0.5^k / k!, resolved to the grid of 1 / 1000
        assert abs((found == k).double().mean().item() - math.exp(-0.5) * 0.5**k / math.factorial(k)) < 0.0015


def test_wrong_number_of_seeds():
    with pytest.raises(ValueError, match="2 seeds were given for 3"):
        seeded([1, 2], 3, "cpu")
