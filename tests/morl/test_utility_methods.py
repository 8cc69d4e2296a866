"""Methods for one utility of the expected returns: what they build, what they are worth, and where they arrive."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tradeoff.engine.scores import log_probs
from tradeoff.engine.updates import Adam, Normalised, Truncated, Unitless
from tradeoff.envs import finite_arrays, make, make_tabular, register
from tradeoff.morl import utility_settings
from tradeoff.morl.utility_methods import METHODS, MOPG, MOTSIVRPG, MONormalisedIGT, MOStormPG, UtilityConfig


def arms(num_envs: int, **options: object) -> object:
    """One choice among (1, 0), (0, 1) and (.4, .4)."""
    model = finite_arrays(
        [[[0, 1.0]] * 3, [[0, 1.0]] * 3], [[[1, 0], [0, 1], [0.4, 0.4]]] * 2, terminal=[False, True], horizon=1
    )
    return make_tabular(model, num_envs, id="arms", objectives=("left", "right"), discount=1.0, **options)


@pytest.fixture(autouse=True)
def registered() -> None:
    register("arms", arms)


ARMS = {"env": "arms", "policies": 3, "hidden": (8,), "evaluate_every": 20, "final_episodes": 4000, "steps": 120_000}
SMALL = {"checkpoint": 512, "batch": 128}
RUNS = (
    MOPG(**ARMS, batch=256, learning_rate=0.05, utility="proportional-fair", shift=(0.01,)),
    MOTSIVRPG(**ARMS, **SMALL, period=6, learning_rate=0.5, utility="proportional-fair", shift=(0.01,)),
    MOStormPG(**ARMS, **SMALL, eta=0.3, learning_rate=0.05, utility="proportional-fair", shift=(0.01,)),
    MONormalisedIGT(**ARMS, batch=256, learning_rate=1.0, utility="proportional-fair", shift=(0.01,)),
)


@pytest.mark.parametrize("config", RUNS, ids=lambda c: c.name)
def test_even_odds_of_two_arms_are_found(config: UtilityConfig) -> None:
    # log(J0 + .01) + log(J1 + .01): even odds of the first two arms give 2 log .51 = -1.347, the third arm for sure
    # 2 log .41 = -1.783, the first one alone log 1.01 + log .01 = -4.595. Only a policy that mixes is best.
    found = config.run()
    assert found.returns.mean(1) == pytest.approx(np.full((3, 2), 0.5), abs=0.06)
    assert found.indicators["value"] == pytest.approx([2 * np.log(0.51)] * 3, abs=0.05)
    assert max(found.indicators["deterministic_value"]) < -1.7  # likeliest actions cannot mix
    assert found.indicators["real_environment_steps"]["training"] >= 110_000


def test_steps_are_the_methods_own_or_adams() -> None:
    kinds = {name: type(kind(step="own").composition(None).update).__name__ for name, kind in METHODS.items()}
    assert kinds == {"mo-pg": "SGD", "mo-tsivr-pg": "Truncated", "mo-storm-pg": "SGD", "mo-n-pg-igt": "Scheduled"}
    own = MOTSIVRPG(step="own", learning_rate=0.5, radius=0.25, env="arms").start().learner.updates[0]
    assert own == Truncated(0.5, 0.25)
    assert MOTSIVRPG(learning_rate=0.5, env="arms").start().learner.updates == [Truncated(0.5, 0.1)]
    assert MOTSIVRPG(learning_rate=0.5, env="arms", step="adam").start().learner.updates == [Unitless(Adam(0.5))]
    assert MONormalisedIGT(learning_rate=0.5).composition(None).update.update == Normalised(0.5)


def test_a_natural_step_has_its_length_in_the_fisher_metric() -> None:
    # One state, three arms, logits theta: F = diag(p) - p p' and s' (F + .1) s = rate^2, so that the first step of
    # 1e-3 moves the policy by a mean KL divergence of at most 1e-6 / 2, and of more than a fifth of it: the damping
    # takes its part. Along the plain gradient a rate of 1e-3 would move it by about 1e-9.
    config = MOPG(**ARMS | {"policies": 1}, batch=512, step="natural", learning_rate=1e-3, anneal=False)
    learner = config.start().learner
    episodes = learner.prepare(learner._collect(learner.population.theta, 4))

    def odds() -> torch.Tensor:
        one = [episodes._replace(action=torch.full_like(episodes.action, arm)) for arm in range(3)]
        return torch.stack([log_probs(learner.model, learner.population.theta, x).flatten()[0] for x in one]).double()

    before = odds()
    learner.iterate()
    moved = (before.exp() * (before - odds())).sum().item()
    assert 1e-7 < moved < 5.1e-7


def test_published_utilities_are_recommended() -> None:
    # Queues: -sum 500 / (J + 1), J cut to [0, 500]: six times 99 give -30, below zero counts as zero: -500 each.
    spec = make("server-queues-6-v0").spec
    queues = MOPG(env=spec.id, **utility_settings(spec.id))
    assert queues.value(torch.full((1, 6), 99.0), spec).item() == pytest.approx(-30)
    assert queues.value(torch.full((1, 6), -5.0), spec).item() == pytest.approx(-3000)
    # The deepest treasure: sqrt(23.7 + 1) + sqrt(101 - 19) = 14.0253; the nearest: sqrt 1.7 + sqrt 100 = 11.3038.
    sea = make("deep-sea-treasure-v0").spec
    deep = MOPG(env=sea.id, **utility_settings(sea.id))
    value = deep.value(torch.tensor([[23.7, -19.0], [0.7, -1.0]], dtype=torch.float64), sea)
    assert value.tolist() == pytest.approx([14.0253, 11.3038], abs=1e-4)


def test_every_utility_has_its_value() -> None:
    # At (4, 9): 13; 2 + 3; -1/4 - 1/9; log 36; 4; -log(e^-4 + e^-9); worst first, weights (2, 1): 2 * 4 + 9.
    at, spec = torch.tensor([[4.0, 9.0]], dtype=torch.float64), make("arms").spec
    want = {"linear": 13, "square-root": 5, "harmonic": -13 / 36, "proportional-fair": np.log(36), "max-min": 4}
    found = {name: MOPG(env="arms", utility=name).value(at, spec).item() for name in want}
    assert found == pytest.approx(want)
    gini = MOPG(env="arms", utility="generalised-gini", weights=(2.0, 1.0)).value(at, spec).item()
    assert gini == pytest.approx(17)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"hidden": ()}, "hidden must hold one number at least"),
        ({"utility": "proportional-fair", "weights": (-1.0,)}, "weights"),
        ({"floor": (0.0, 0.0, 0.0)}, "3 numbers were given for 2 objectives"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(RUNS[0], **changes).start()
    with pytest.raises(ValueError, match=r"eta must lie in \(0, 1\], got 0"):
        MOStormPG(eta=0.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"step": "adam", "radius": 5.0}, "radius 5.0 has no effect: step 'adam' has no radius"),
        ({"utility": "linear", "lag": True}, "lag True has no effect: the slope of utility 'linear'"),
        (
            {"utility": "max-min", "shift": (3.0,)},
            "shift .* has no effect: utility 'max-min' is defined",
        ),
        ({"utility": "linear", "temperature": 3.0}, "temperature 3.0 has no effect: utility 'linear' has none"),
    ],
)
def test_an_option_that_a_combination_does_not_read_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MOTSIVRPG(env="arms", **changes)


def test_centring_is_refused_where_a_baseline_leaves_nothing_of_it() -> None:
    with pytest.raises(ValueError, match="centre False has no effect: baseline 'mean' centres already"):
        MOPG(env="arms", centre=False)
    assert not MOPG(env="arms", centre=False, baseline="none").centre
    assert not MOTSIVRPG(env="arms", centre=False).centre
