"""Distances against numerical transport, directions by hand."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import norm

from tradeoff.safe.novelty import categorical_distance, ctnb_direction, gaussian_distance, novelty


def test_the_distance_of_normals_is_that_of_their_quantiles(tensor) -> None:
    # In one dimension W_2^2 is the integral of the squared gap between quantile functions; two coordinates add up.
    u = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    pairs = [((0.3, 1.2), (-0.5, 0.4)), ((1.0, 0.5), (1.5, 2.0))]
    total = sum(((norm.ppf(u, *a) - norm.ppf(u, *b)) ** 2).mean() for a, b in pairs)
    (m, s), (o, q) = (tensor(*[p[i] for p in pairs]).T for i in (0, 1))
    assert gaussian_distance(m, s, o, q).item() == pytest.approx(total**0.5, abs=1e-3)


def test_distances_are_metrics() -> None:
    draw = torch.Generator().manual_seed(0)
    means, stds = torch.randn(3, 50, 2, generator=draw), torch.rand(3, 50, 2, generator=draw)
    chances = torch.randn(3, 50, 4, generator=draw).softmax(-1)
    gaussian = lambda i, j: gaussian_distance(means[i], stds[i], means[j], stds[j])  # noqa: E731
    discrete = lambda i, j: categorical_distance(chances[i], chances[j])  # noqa: E731
    for d in (gaussian, discrete):
        assert (d(0, 0) == 0).all() and torch.equal(d(0, 1), d(1, 0)) and (d(0, 1) > 0).all()
        assert (d(0, 2) <= d(0, 1) + d(1, 2) + 1e-6).all()


def test_novelty_is_the_distance_to_the_nearest(tensor) -> None:
    # Against (1, 0): total variation 1/4; against (0, 1): 3/4.
    chance, references = tensor(0.75, 0.25), tensor([1, 0], [0, 1]).unsqueeze(1)
    distances = categorical_distance(chance.unsqueeze(0), references)
    torch.testing.assert_close(distances[:, 0], tensor(0.25, 0.75))
    assert novelty(distances).tolist() == [0.25]


def test_ctnb_by_hand(tensor) -> None:
    # Task (2, 0); kept: itself. Novel (2.4, 3.2): the bisector (2, 0) + (2 / 4) (2.4, 3.2) = (3.2, 1.6), length made
    # (2 + 4) / 2. Novel (-3, 3) against the task: (2, 0) - (-6 / 18) (-3, 3) = (1, 1), length (2 + sqrt 18) / 2.
    task = tensor([2, 0], [2, 0], [2, 0])
    novel = tensor([2.4, 3.2], [2.4, 3.2], [-3, 3])
    found = ctnb_direction(task, novel, torch.tensor([False, True, True]))
    bisector = [3 * 3.2 / 12.8**0.5, 3 * 1.6 / 12.8**0.5]
    torch.testing.assert_close(found, tensor([2, 0], bisector, [(1 + 4.5**0.5) * 0.5**0.5] * 2))
    assert ((found[1:] * novel[1:]).sum(-1) >= -1e-12).all()
    with pytest.raises(ValueError, match="broken"):
        ctnb_direction(task, novel, torch.tensor([True]))


def test_no_step_loses_novelty_while_its_limit_is_broken() -> None:
    draw = torch.Generator().manual_seed(1)
    task, novel = torch.randn(2, 500, 7, generator=draw, dtype=torch.float64)
    found = ctnb_direction(task, novel, torch.ones(500, dtype=torch.bool))
    assert ((found * novel).sum(-1) >= -1e-9).all() and ((found * task).sum(-1) > 0).all()
