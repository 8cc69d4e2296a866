"""Published estimators as methods: the recursion each of them runs, its step, and where it arrives."""

from __future__ import annotations

import numpy as np
import pytest

from tradeoff.engine.estimators import RETURNS
from tradeoff.engine.recursion import CURVATURE, GRADIENT, RETURNS_CURVATURE
from tradeoff.engine.updates import SGD, Adam, Normalised, Scheduled, Truncated, Unitless
from tradeoff.envs import finite_arrays, make_tabular, register
from tradeoff.morl.estimator_methods import METHODS
from tradeoff.registry import recommended

RATES = {"tsivr": 1.0, "n-vr-pg": 0.3, "momentum": 0.1, "n-pg-igt": 1.0, "harpg": 1.0, "n-harpg": 1.0}
UPDATES = {
    "momentum": Normalised(0.5), "tsivr": Truncated(0.5, 0.1), "n-vr-pg": Scheduled(Normalised(0.5), 2 / 3),
    "n-pg-igt": Scheduled(Normalised(0.5), 1.0), "harpg": Scheduled(SGD(0.5), 0.5),
    "n-harpg": Scheduled(Normalised(0.5), 1.0),
}  # fmt: skip


def arms(num_envs: int, **options: object) -> object:
    """One choice among (1, 0), (0, 1) and (.4, .4)."""
    model = finite_arrays(
        [[[0, 1.0]] * 3, [[0, 1.0]] * 3], [[[1, 0], [0, 1], [0.4, 0.4]]] * 2, terminal=[False, True], horizon=1
    )
    return make_tabular(model, num_envs, id="arms", objectives=("left", "right"), discount=1.0, **options)


@pytest.fixture(autouse=True)
def registered() -> None:
    register("arms", arms)


@pytest.mark.parametrize("name", METHODS)
def test_the_better_arm_is_found(name: str) -> None:
    # Linear weights (1, .5): the arms are worth 1, .5 and .6; a uniform choice .7. Steps are the method's own.
    config = recommended(
        name, "arms", policies=3, hidden=(8,), steps=8_000, evaluate_every=1000, final_episodes=1000,
        weights=(1.0, 0.5), learning_rate=RATES.get(name, 0.5),
    )  # fmt: skip
    assert config.run().indicators["value"] == pytest.approx([1.0] * 3, abs=0.05)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_steps_by_its_own_rule_unless_told(name: str) -> None:
    own = METHODS[name](env="arms", learning_rate=0.5).start().learner.updates
    assert own == [UPDATES.get(name, SGD(0.5))]
    assert METHODS[name](env="arms", learning_rate=0.5, step="adam").start().learner.updates == [Unitless(Adam(0.5))]


def test_weights_of_the_fresh_gradient_follow_the_published_schedules() -> None:
    # Turns 1 to 6. Period 3: turns 3 and 6. (2 / (t + 2))^(2/3), ^(4/5) and ^1 at t = 2: 1/2 to the power.
    def eta(name: str, **fields: object) -> list[float]:
        chosen = METHODS[name](**fields).composition(None).estimator.settings.eta
        return [chosen(t) for t in range(1, 7)]

    assert eta("reinforce") == eta("gpomdp") == [1.0] * 6
    assert eta("svrpg", period=3) == eta("srvr-pg", period=3) == eta("tsivr", period=3) == [0, 0, 1, 0, 0, 1]
    assert eta("storm-pg", eta=0.25) == eta("momentum", eta=0.25) == [0.25] * 6
    assert set(eta("page-pg", probability=0.5)) == {0.0, 1.0}
    assert eta("page-pg", probability=0.5, seed=1) != eta("page-pg", probability=0.5, seed=0)
    found = [eta(name)[1] for name in ("n-vr-pg", "n-pg-igt", "harpg", "n-harpg")]
    assert found == pytest.approx([0.5 ** (2 / 3), 0.5**0.8, 0.5, 0.5])
    assert eta("n-harpg", eta=0.5)[1] == pytest.approx(0.25)


def test_episodes_asked_for_and_what_is_remembered() -> None:
    # A linear utility prices the gradient without returns; another one gets as many episodes again for them.
    def asked(name: str, turns: int = 2, **fields: object) -> dict[str, int]:
        made = METHODS[name](env="arms", **{"learning_rate": 0.1, **fields}).start().learner
        for _ in range(turns - 1):
            made.iterate(1.0)
        return {role: request.episodes for role, request in made.estimator.plan(made.population.theta).items()}

    assert asked("gpomdp", batch=7) == {GRADIENT: 7}
    assert asked("gpomdp", batch=7, utility="square-root") == {GRADIENT: 7, RETURNS: 7}
    assert asked("srvr-pg", 1, checkpoint=20, batch=4) == {GRADIENT: 20}
    assert asked("srvr-pg", 2, checkpoint=20, batch=4) == {GRADIENT: 4}
    assert asked("n-harpg", batch=6, curvature=3) == {GRADIENT: 6, CURVATURE: 3}
    both = {GRADIENT: 6, RETURNS: 6, CURVATURE: 3, RETURNS_CURVATURE: 3}
    assert asked("harpg", batch=6, curvature=3, utility="square-root") == both
    assert asked("n-vr-pg", batch=5, utility="square-root") == {GRADIENT: 5}
    anchored = {name: METHODS[name]().composition(None).estimator.settings.anchor for name in ("svrpg", "srvr-pg")}
    assert anchored == {"svrpg": True, "srvr-pg": False}


def test_a_nonlinear_utility_is_climbed_too() -> None:
    # log(J0 + .01) + log(J1 + .01) is best at even odds: 2 log .51 = -1.347; the third arm alone: 2 log .41 = -1.783.
    config = recommended(
        "n-vr-pg", "arms", policies=3, hidden=(8,), steps=30_000, evaluate_every=1000, final_episodes=2000, batch=32,
        learning_rate=0.3, utility="proportional-fair", shift=(0.01,),
    )  # fmt: skip
    assert config.run().indicators["value"] == pytest.approx([2 * np.log(0.51)] * 3, abs=0.06)


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("gpomdp", {"batch": 0}, "batch must be at least 1, got 0"),
        ("srvr-pg", {"checkpoint": 0}, "checkpoint must be at least 1, got 0"),
        ("svrpg", {"period": 0}, "period must be at least 1, got 0"),
        ("harpg", {"curvature": 0}, "curvature must be at least 1, got 0"),
        ("storm-pg", {"eta": 1.5}, r"eta must lie in \(0, 1\], got 1.5"),
        ("page-pg", {"probability": 0.0}, r"probability must lie in \(0, 1\], got 0.0"),
        ("tsivr", {"radius": 0.0}, "radius must be positive, got 0.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(name: str, fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        METHODS[name](**fields)
