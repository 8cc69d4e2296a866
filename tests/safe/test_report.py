"""The safety report: every bound beside its formula, for limits from above and from below, and how often it holds."""

from __future__ import annotations

from math import inf, log, nan, sqrt

import numpy as np
import pytest
from scipy.stats import binomtest

from tradeoff.safe.bounds import BadCosts, clopper_pearson, cvar_bound, mean_bound
from tradeoff.safe.constraints import Constraint
from tradeoff.safe.report import broken_when_deterministic, broken_when_stochastic, count, safety_report

HEAT, NOISE = Constraint(cost="heat", limit=1.0), Constraint(cost="noise", limit=0.5)
COSTS = {"heat": [0.0] * 95 + [2.0] * 5, "noise": [1.0] * 100}


def test_the_report_states_what_was_proven() -> None:
    heat, noise = safety_report(COSTS, [HEAT, NOISE], {"heat": (0, 2), "noise": (0, 4)})
    assert heat.proven and not noise.proven and (heat.broken, noise.broken) == (5, 100)
    assert heat["share"].bound == pytest.approx(binomtest(5, 100).proportion_ci(0.9, method="exact").high)
    assert heat["mean"][1:4] == (pytest.approx(0.1), *mean_bound(COSTS["heat"], 0.95, 2.0))
    # The worst tenth: five of cost 2, five of cost 0. 90 of 100 episodes cost at most 0 in the sample; 95 % asks for
    # the 96th: P(Binomial(100, 0.9) <= 95) = 0.976, P(<= 94) = 0.942.
    assert heat["cvar"][1:4] == (pytest.approx(1.0), *cvar_bound(COSTS["heat"], 0.1, 0.95, 2.0, 1.0))
    assert heat["quantile"][1:3] == (0.0, 2.0)
    said = str(heat).splitlines()
    assert len(said) == 4 and all(line.startswith("with 95 % confidence ") for line in said)
    assert said[0].endswith("at most 10.2 % of episodes break heat <= 1 (5 of 100 did; Clopper-Pearson)")
    assert "so the limit 1 is kept on average" in said[2] and "0.5 is not proven" in str(noise)


def test_all_bounds_together_share_the_risk() -> None:
    ranges = {"heat": (0.0, 2.0)}
    assert count([HEAT, NOISE], ranges) == 6  # four, and two where no range is known
    heat, noise = safety_report(COSTS, [HEAT, NOISE], ranges, statements=6)
    level = 1 - 0.05 / 6
    assert heat["share"].bound == pytest.approx(clopper_pearson(5, 100, level)) and heat.confidence == 0.95
    assert heat["mean"].bound == pytest.approx(mean_bound(COSTS["heat"], level, 2.0)[0])
    assert noise["share"].bound == 1.0


def test_a_limit_from_below_is_the_mirror_of_one_from_above() -> None:
    # Speeds in [1, 6] must exceed 2; their mirror 6 - speed lies in [0, 5] and must stay below 4.
    speed = np.random.default_rng(3).uniform(1.5, 6, 300)
    low = Constraint(cost="speed", limit=2.0, sense=">=")
    mine, its = safety_report({"speed": speed}, [low], {"speed": (1, 6)})[0], 6 - speed
    mirror = safety_report({"slow": its}, [Constraint(cost="slow", limit=4.0)], {"slow": (0, 5)})[0]
    assert mine.broken == mirror.broken == int((speed < 2).sum()) > 0
    assert mine["share"].bound == mirror["share"].bound
    for quantity in ("quantile", "mean", "cvar"):
        assert mine[quantity].bound == pytest.approx(6 - mirror[quantity].bound)
        assert mine[quantity].observed == pytest.approx(6 - mirror[quantity].observed)
    assert mine.proven == mirror.proven is True and "expected speed is at least" in mine["mean"].sentence


def test_a_limit_that_is_just_met_is_not_broken_and_the_least_excess_breaks_it() -> None:
    # One bit above 0.1; after a shift by the range's lower end, 1000, it could not be told from 0.1 any more.
    costs = [0.1, float(np.nextafter(0.1, 1)), 0.05]
    found = safety_report({"a": costs}, [Constraint(cost="a", limit=0.1)], {"a": (-1000.0, 1.0)})[0]
    assert found.broken == 1


def test_without_a_range_what_needs_none_is_given() -> None:
    found = safety_report({"heat": np.arange(100.0)}, [HEAT])[0]
    assert [b.quantity for b in found.bounds] == ["share", "quantile"] and found.range is None and not found.proven
    assert found["quantile"].bound == 95.0  # the 96th of 100, see above
    assert str(found).splitlines()[-1].startswith("no ceiling is known for heat")
    few = safety_report({"heat": np.arange(28.0)}, [HEAT])[0]
    assert few["quantile"].bound == inf and "it takes 29 episodes" in few["quantile"].sentence  # 0.9^29 < 0.05 < 0.9^28
    with pytest.raises(KeyError):
        few["mean"]


def test_a_bound_that_says_nothing_is_said_to_say_nothing() -> None:
    found = safety_report({"heat": [0.0, 1.0]}, [HEAT], {"heat": (0, 1000)})[0]
    assert found["cvar"].bound == 1000 and "more episodes would say more" in found["cvar"].sentence
    assert found["mean"].bound == pytest.approx(0.5 + 1000 * sqrt(log(40) / 4)) and not found.proven


def test_the_report_holds_as_often_as_it_says() -> None:
    # Costs 10 Beta(1, 4) in [0, 10]: mean 2, P(> 5) = 1/16; all but a tenth stay below q, (1 - q / 10)^4 = 1/10; the
    # worst tenth has the mean q + (10 - q) / 5. 1000 reports at 80 %: a correct bound fails 200 times, 3 sd = 38.
    draw, limit = np.random.default_rng(1), Constraint(cost="x", limit=5.0)
    q = 10 * (1 - 0.1**0.25)
    truth = {"share": 1 / 16, "quantile": q, "mean": 2.0, "cvar": q + (10 - q) / 5}
    failures, any_failed = dict.fromkeys(truth, 0), 0
    for _ in range(1000):
        x = {"x": 10 * draw.beta(1, 4, 60)}
        alone = safety_report(x, [limit], {"x": (0, 10)}, confidence=0.8)[0]
        together = safety_report(x, [limit], {"x": (0, 10)}, confidence=0.8, statements=4)[0]
        for name, value in truth.items():
            failures[name] += alone[name].bound < value
        any_failed += any(together[name].bound < value for name, value in truth.items())
    assert max(failures.values()) <= 238 and any_failed <= 238, (failures, any_failed)
    assert failures["share"] > 50 and failures["quantile"] > 50, failures  # exact bounds are not far too wide


@pytest.mark.parametrize(
    ("costs", "word"),
    [([1.0, nan], "nan"), ([-1.0], "-1"), ([5.0], "within 0 and 4"), ([], "at least one"), ([[1.0]], "one number per")],
)
def test_costs_that_prove_nothing_are_refused_by_name(costs, word) -> None:
    with pytest.raises(BadCosts, match=f"cost 'heat'.*{word}"):
        safety_report({"heat": costs}, [HEAT], {"heat": (0.0, 4.0)})


def test_arguments_that_make_no_sense_are_refused() -> None:
    with pytest.raises(BadCosts, match="limits name noise"):
        safety_report({"heat": [1.0]}, [NOISE])
    with pytest.raises(BadCosts, match="confidence"):
        safety_report({"heat": [1.0]}, [HEAT], confidence=1.0)
    with pytest.raises(BadCosts, match="4 to 0 is empty"):
        safety_report({"heat": [1.0]}, [HEAT], {"heat": (4.0, 0.0)})
    with pytest.raises(BadCosts, match="at least 2 episodes"):
        safety_report({"heat": [1.0]}, [HEAT], {"heat": (0.0, 4.0)})


def test_a_limit_that_one_way_of_acting_breaks_is_told() -> None:
    # heat is kept by drawn actions alone, noise by both, dust by none, speed (at least 3) by the likeliest alone,
    # grip (at least 2) by drawn actions alone.
    limits = [HEAT, NOISE, *(Constraint(cost=c, limit=x, sense=s) for c, x, s in
              (("dust", 1.0, "<="), ("speed", 3.0, ">="), ("grip", 2.0, ">=")))]  # fmt: skip
    drawn, fixed = [HEAT.limits[0], 0.0, 2, 2.5, 2], [HEAT.limits[0] + 1, -1.0, 3, 3, 1.75]
    assert broken_when_deterministic(drawn, fixed, limits) == [
        f"heat <= {drawn[0]:g}: {drawn[0]:g} with drawn actions, {fixed[0]:g} with the likeliest; deploy it stochastic",
        "grip >= 2: 2 with drawn actions, 1.75 with the likeliest; deploy it stochastic",
    ]
    assert broken_when_stochastic(drawn, fixed, limits) == [
        "speed >= 3: 2.5 with drawn actions, 3 with the likeliest; deploy it deterministic"
    ]
