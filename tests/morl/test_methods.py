"""Preferences, configs, presets: what is refused, and that every field changes what it says."""

from __future__ import annotations

from dataclasses import fields
from itertools import product
from typing import Any

import numpy as np
import pytest

from tests.morl.conftest import TINY, changed
from tradeoff.engine import LearnerConfig
from tradeoff.envs import UnknownName, make
from tradeoff.morl import CMORL, METHODS, Discovery, Front, WeightedSumFront, recommended
from tradeoff.morl.methods import spread_preferences
from tradeoff.morl.presets import BODY, SMALL, TREE

PLAIN = WeightedSumFront(**{f.name: getattr(TINY, f.name) for f in fields(WeightedSumFront)})


def test_preferences_of_two_objectives_are_a_ladder() -> None:
    assert spread_preferences(2, 1).tolist() == [[0.5, 0.5]]
    assert spread_preferences(2, 2).tolist() == [[0, 1], [1, 0]]
    assert spread_preferences(2, 5).tolist() == [[0, 1], [0.25, 0.75], [0.5, 0.5], [0.75, 0.25], [1, 0]]


def test_preferences_of_three_are_a_lattice_where_one_fits() -> None:
    # A lattice with p partitions has (p + 1)(p + 2) / 2 points: 3, 6, 10, 15, ...
    assert spread_preferences(3, 1).tolist() == [[1 / 3] * 3]
    assert spread_preferences(3, 3).tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    fifteen = {tuple(row) for row in (spread_preferences(3, 15) * 4).round(12)}
    assert fifteen == {row for row in product(range(5), repeat=3) if sum(row) == 4}


@pytest.mark.parametrize(("m", "count"), [(3, 4), (3, 5), (4, 7), (6, 9)])
def test_other_counts_are_spread_with_the_corners(m: int, count: int) -> None:
    weights = spread_preferences(m, count)
    assert weights.shape == (count, m) and weights.min() >= 0
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-12)
    assert {tuple(row) for row in np.eye(m)} <= {tuple(row) for row in weights.round(9)}
    apart = np.linalg.norm(weights[:, None] - weights[None], axis=-1) + 9 * np.eye(count)
    assert apart.min() > 0.25


def test_too_few_preferences_to_spread_are_refused() -> None:
    for count in (2, 5):
        with pytest.raises(ValueError, match=f"policies is {count}; give 1, or at least 6, one per objective"):
            spread_preferences(6, count)


WRONG = {
    "steps": (0, "steps must be at least 1, got 0"),
    "policies": (0, "policies must be at least 1, got 0"),
    "evaluate_every": (0, "evaluate_every must be at least 1, got 0"),
    "episodes": (-1, "episodes must be at least 1, got -1"),
    "final_episodes": (1, "final_episodes must be at least 2, got 1"),
    "capacity": (1, "capacity must be at least 2, got 1"),
    "seed": (-1, "seed must be at least 0, got -1"),
    "horizon": (0, "horizon must be at least 1, got 0"),
    "discount": (0.0, r"discount must lie in \(0, 1\], got 0.0"),
}
WRONG_CMORL = {
    "extension": (1.0, r"extension must lie in \[0, 1\), got 1.0"),
    "keep_share": (0.0, r"keep_share must lie in \(0, 1\], got 0.0"),
    "sharpness": (0.0, "sharpness must be positive, got 0.0"),
    "select": (0, "select and extension_iterations must be at least 1"),
    "extension_iterations": (0, "select and extension_iterations must be at least 1"),
}


@pytest.mark.parametrize(("kind", "name"), [*product([WeightedSumFront, CMORL], WRONG), *product([CMORL], WRONG_CMORL)])
def test_a_config_says_what_is_wrong_with_it(kind: Any, name: str) -> None:
    value, words = (WRONG | WRONG_CMORL)[name]
    with pytest.raises(ValueError, match=words):
        kind(**{name: value})


@pytest.mark.parametrize("name", ["discount", "extension", "keep_share", "sharpness"])
def test_a_nan_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must .* got nan"):
        CMORL(**{name: float("nan")})


def prints(front: Front) -> dict[str, Any]:
    """Everything of a front that a setting might change, by what it is."""
    return {
        "parameters": front.population.theta.numpy().tobytes(),
        "points": front.points.tobytes(),
        "episodes": front.episode_returns.shape[1],
        "count": len(front),
        "volumes": [row["hypervolume"] for row in front.history],
        "evaluations": len(front.history),
        "training": front.indicators["real_environment_steps"]["training"],
        "evaluation": front.indicators["real_environment_steps"]["evaluation"],
        "backend": front.indicators["backend"],
    }


SHARED = {
    "env": ("deal", "points"),
    "steps": (1900, "training"),
    "seed": (1, "parameters"),
    "policies": (4, "training"),
    "horizon": (1, "points"),
    "discount": (0.5, "points"),
    "reference_point": ((-2.0, -1.0), "volumes"),
    "evaluate_every": (1, "evaluations"),
    "episodes": (3, "evaluation"),
    "final_episodes": (4, "episodes"),
    "capacity": (2, "count"),
    "learner": (LearnerConfig(rollout_steps=8, environments=4, epochs=1, minibatches=2, hidden=(4,)), "parameters"),
}
OF_CMORL = {
    "extension": (0.2, "parameters"),
    "select": (1, "parameters"),
    "extension_iterations": (1, "evaluations"),
    "keep_share": (0.2, "parameters"),
    "sharpness": (1.0, "parameters"),
}
ELSEWHERE = {"device"}  # see the next test: only one device is sure to be there


@pytest.fixture(scope="module")
def before() -> dict[Any, dict[str, Any]]:
    """Fronts by their method before anything was changed; filled by the first test that asks."""
    return {}


@pytest.mark.parametrize(
    ("config", "name"),
    [*product([PLAIN, TINY], SHARED), *product([TINY], OF_CMORL)],
    ids=lambda x: getattr(x, "name", x),
)
def test_every_field_changes_the_result(config: Any, name: str, before: dict[Any, dict[str, Any]]) -> None:
    if config.name not in before:
        before[config.name] = prints(config.run())
    value, where = (SHARED | OF_CMORL)[name]
    assert prints(changed(config, **{name: value}).run())[where] != before[config.name][where]


def test_no_field_was_forgotten() -> None:
    assert {f.name for f in fields(WeightedSumFront)} == set(SHARED) | ELSEWHERE
    assert {f.name for f in fields(CMORL)} == set(SHARED) | set(OF_CMORL) | ELSEWHERE


def test_a_device_that_is_not_there_is_asked_for() -> None:
    with pytest.raises(RuntimeError, match="nowhere"):
        Discovery(changed(TINY, device="nowhere"))


def test_a_preset_passes_over_what_a_method_does_not_have() -> None:
    front, plain = (recommended(name, "fruit-tree-v0", steps=5) for name in ("c-morl", "weighted-sum"))
    assert isinstance(front, CMORL) and isinstance(plain, WeightedSumFront)
    assert (front.policies, front.select, front.keep_share, front.learner, front.steps) == (64, 10, 0.6, TREE, 5)
    assert (plain.policies, plain.learner, plain.steps) == (64, TREE, 5)
    assert recommended("c-morl", "fruit-tree-v0", policies=9).policies == 9
    assert recommended("c-morl", "deal") == CMORL(env="deal", learner=SMALL)
    assert recommended("c-morl", "water-reservoir-v0").learner == BODY
    assert set(METHODS) == {"c-morl", "weighted-sum"}
    with pytest.raises(UnknownName, match="unknown method 'cmorl'; did you mean c-morl"):
        recommended("cmorl", "deal")
    with pytest.raises(UnknownName, match="unknown environment"):
        recommended("c-morl", "no-such-thing-v9")


def test_every_preset_is_of_an_environment_and_fits_it() -> None:
    from tradeoff.morl.presets import PRESETS

    for env in PRESETS:
        probe = make(env)
        assert probe.spec.id == env
        probe.close()
        assert recommended("c-morl", env).learner.minibatches >= 1
