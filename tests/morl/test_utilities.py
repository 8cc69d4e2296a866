"""Values by hand, slopes by finite differences, ties, domains."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tradeoff.envs.errors import NumericalTrouble
from tradeoff.morl import utilities as u
from tradeoff.morl.occupancy import entropy, imitation
from tradeoff.morl.orderings import (
    achievement,
    augmented_chebyshev,
    chebyshev,
    generalised_gini,
    lorenz,
    lorenz_vector,
    max_min,
    ordered_average,
    soft_min,
)

A = torch.tensor([[4.0, 9.0, 1.0], [2.0, 3.0, 7.0]], dtype=torch.float64)
W = [[1.0, 2.0, 0.5], [3.0, 1.0, 1.0]]
Z = [[5.0, 11.0, 2.0], [9.0, 9.0, 9.0]]

SMOOTH = {
    "linear": u.linear(W),
    "log": u.proportional_fair(W, shift=0.5),
    "alpha 1/2": u.alpha_fair(0.5, W),
    "alpha 3, 1": u.alpha_fair([[3.0], [1.0]], W, [0.0, 1.0, 2.0]),
    "square root": u.square_root(W, 1.0),
    "harmonic": u.harmonic(500.0),
    "chebyshev": chebyshev(W, Z),
    "augmented": augmented_chebyshev(W, Z, 0.1),
    "achievement": achievement(W, Z, [[0.1], [0.2]]),
    "max-min": max_min([1.0, 0.5, 6.0]),
    "soft": soft_min([[0.5], [3.0]], W, Z),
    "gini": generalised_gini([[0.6, 0.3, 0.1], [0.5, 0.25, 0.25]], W),
    "rising ranks": ordered_average([0.0, 0.2, 0.8], W, Z),
    "lorenz": lorenz([0.5, 0.3, 0.2]),
    "custom": u.by_autograd(lambda x, power: (x.clamp(min=0) ** power).sum(-1), power=[[0.5], [0.25]]),
    "entropy": entropy(mass=20.0, smoothing=0.125),
    "state entropy": entropy(mass=20.0, actions=3, smoothing=0.125),
    "imitation": imitation([[0.2, 0.3, 0.5], [0.7, 0.2, 0.1]], mass=20.0),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_slopes_are_finite_differences_of_the_value(name: str) -> None:
    f, h = SMOOTH[name], 1e-6
    for i, step in enumerate(torch.eye(3, dtype=torch.float64) * h):
        slope = (f.value(A + step) - f.value(A - step)) / (2 * h)
        torch.testing.assert_close(f.gradient(A)[:, i], slope, rtol=1e-6, atol=1e-8)


def test_policies_have_parameters_of_their_own() -> None:
    # Each row alone, with its own row of parameters, gives what the two give together.
    for name, f in SMOOTH.items():
        both = f.at(A)
        for p in range(2):
            rows = {k: x[p : p + 1] if x.ndim == 2 else x for k, x in f.parameters.items()}
            alone = f.with_parameters(**rows).at(A[p : p + 1])
            torch.testing.assert_close(alone.value, both.value[p : p + 1], msg=name)
            torch.testing.assert_close(alone.gradient, both.gradient[p : p + 1], msg=name)


def _one(f: u.Utility, *returns: float) -> tuple[float, list[float]]:
    found = f.at(torch.tensor([returns], dtype=torch.float64))
    return found.value.item(), found.gradient[0].tolist()


def test_values_by_hand() -> None:
    assert _one(u.linear([2.0, -1.0]), 3, 4) == (2, [2, -1])
    assert _one(u.proportional_fair([2.0, 1.0]), 1, math.e) == (1, [2, pytest.approx(1 / math.e)])
    assert _one(u.alpha_fair(0.5), 4, 9) == (2 * 2 + 2 * 3, [1 / 2, pytest.approx(1 / 3)])
    assert _one(u.alpha_fair(3.0), 1, 2) == (-1 / 2 - 1 / 8, [1, 1 / 8])
    assert _one(u.square_root([2.0, 1.0], shift=[0.0, 7.0]), 4, 9) == (2 * 2 + 4, [1 / 2, 1 / 8])
    assert _one(u.harmonic(500.0), 4, 9) == (-100 - 50, [20, 5])
    # (J - z) = (-1, -2); times weights (3, 1): -3, -2.
    assert _one(chebyshev([3.0, 1.0], [5.0, 11.0]), 4, 9) == (-3, [3, 0])
    assert _one(augmented_chebyshev([3.0, 1.0], [5.0, 11.0], 0.5), 4, 9) == (-3 - 1.5, [3.5, 0.5])
    assert _one(achievement([3.0, 1.0], [5.0, 11.0], 0.5), 4, 9) == (-3 - 0.5 * 5, [4.5, 0.5])
    assert _one(achievement([3.0, 1.0], [3.0, 8.0], 0.5), 4, 9) == (1 + 0.5 * 4, [1.5, 1.5])  # exceeded by 3 and 1
    assert _one(max_min([1.0, 0.25]), 4, 8) == (2, [0, 0.25])
    # y = (4, 9, 1): worst first 1, 4, 9.
    assert _one(ordered_average([0.5, 0.25, 0.125]), 4, 9, 1) == (0.5 + 1 + 1.125, [0.25, 0.125, 0.5])
    # Lorenz vector 1, 5, 14; ranks 1 = .5 + .25 + .25, .5, .25.
    assert lorenz_vector(torch.tensor([4.0, 9.0, 1.0])).tolist() == [1, 5, 14]
    assert _one(lorenz([0.5, 0.25, 0.25]), 4, 9, 1) == (0.5 + 1.25 + 3.5, [0.5, 0.25, 1])
    # Two equal y: minus tau log(2 exp(-y / tau)) = y - tau log 2.
    assert _one(soft_min(2.0), 3, 3) == (pytest.approx(3 - 2 * math.log(2)), [0.5, 0.5])


def test_the_published_utilities_have_the_published_values() -> None:
    # Deep sea treasure: sqrt(J1 + 1) + sqrt(101 + J2) at four points of the front; queues: -H sum 1 / (J + 1).
    treasure = torch.tensor([[23.7, -19.0], [22.4, -17.0], [20.3, -14.0], [0.7, -1.0]], dtype=torch.float64)
    f = u.square_root(shift=[1.0, 101.0])
    assert f.value(treasure).tolist() == pytest.approx([14.0253, 14.0025, 13.9426, 11.3038], abs=5e-5)
    # Six queues, H = 500, gamma = .9999, everything served on arrival: lambda_m = .05 + .033 m.
    rate = 0.05 + 0.033 * torch.arange(6, dtype=torch.float64)
    served = rate * (1 - 0.9999**500) / (1 - 0.9999)
    assert u.harmonic(500.0).value(served.unsqueeze(0)).item() == pytest.approx(-57.5, abs=0.05)


def test_kinks_share_equally_among_the_tied() -> None:
    assert _one(max_min(), 2, 2, 5) == (2, [0.5, 0.5, 0])
    assert _one(ordered_average([0.5, 0.25, 0.125]), 4, 1, 4) == (0.5 + 0.375 * 4, [0.1875, 0.5, 0.1875])
    assert _one(ordered_average([0.5, 0.25, 0.125]), 4, 4, 4) == (3.5, [pytest.approx(0.875 / 3)] * 3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=6, max_size=6))
def test_supergradients_lie_above_concave_utilities_at_kinks_too(numbers: list[int]) -> None:
    # f(x) <= f(y) + slope(y) . (x - y) for all x, y on a grid that is full of ties.
    x, y = torch.tensor(numbers, dtype=torch.float64).view(2, 1, 3)
    for f in (max_min(), chebyshev([1.0, 2.0, 1.0], 5.0), generalised_gini([0.5, 0.3, 0.2]), soft_min(0.5)):
        plane = f.value(y) + (f.gradient(y) * (x - y)).sum(-1)
        assert f.value(x).item() <= plane.item() + 1e-12


def test_the_soft_minimum_is_near_the_minimum() -> None:
    # Within tau log m below, and the slopes agree as tau goes to 0.
    low, soft = max_min().value(A), soft_min(0.1).value(A)
    assert ((soft <= low) & (soft >= low - 0.1 * math.log(3))).all()
    torch.testing.assert_close(soft_min(1e-3).gradient(A), max_min().gradient(A))


@pytest.mark.parametrize(
    ("f", "at", "broken"),
    [
        (u.proportional_fair(), (1.0, -0.5), "value"),
        (u.proportional_fair(), (1.0, 0.0), "value"),
        (u.square_root(), (1.0, 0.0), "slope"),
        (u.harmonic(1.0), (1.0, -3.0), "value"),  # -1 / (-2) would be a finite number
        (entropy(mass=1.0), (0.5, 0.0), "slope"),
    ],
)
def test_outside_the_domain_the_error_says_where_and_what_to_do(
    f: u.Utility, at: tuple[float, ...], broken: str
) -> None:
    returns = torch.tensor([[1.0, 1.0], at])
    with pytest.raises(u.OutsideDomain, match=rf"no finite {broken} at the returns .* of policy 1.*floor") as caught:
        f.value(returns)
        f.gradient(returns)
    assert isinstance(caught.value, NumericalTrouble)
    assert u.square_root().value(torch.zeros(1, 2)).item() == 0, "at the edge only the slope is missing"


def test_parameters_that_make_no_sense_are_refused() -> None:
    for wrong, word in (
        (lambda: u.alpha_fair(0.0), "alpha must be above 0, got .0."),
        (lambda: u.proportional_fair([1.0, -1.0]), "weights must be at least 0"),
        (lambda: u.linear([math.nan]), "weights must be finite"),
        (lambda: soft_min(0.0), "temperature must be above 0"),
        (lambda: generalised_gini([0.2, 0.8]), "must not rise"),
        (lambda: ordered_average([0.5, 0.5]).value(A), "2 weights, the returns 3"),
        (lambda: u.by_autograd(lambda x: x).value(A), r"answers \(2, 3\); expected \(2,\)"),
    ):
        with pytest.raises(ValueError, match=word):
            wrong()
