"""Plain methods for one weighted return: which weights they climb, and that they reach known optima."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from tradeoff.engine.actor_critic import ACTOR, CRITIC
from tradeoff.engine.checkpoint import load_newest
from tradeoff.engine.learner_config import ActorCriticConfig, LearnerConfig, MinibatchConfig, as_learner
from tradeoff.engine.run import Interrupted, complete
from tradeoff.engine.trajectories import fold
from tradeoff.envs import finite_arrays, make, make_tabular, register, register_gymnasium
from tradeoff.envs.errors import TradeoffError
from tradeoff.morl.proximal_utility import MOPPO
from tradeoff.morl.scalar_methods import A2C, METHODS, PPO, TRPO, VMPORun
from tradeoff.registry import recommended
from tradeoff.safe.methods import METHODS as SAFE
from tradeoff.safe.solvers import PlainLagrangian

LEARNER = LearnerConfig(
    rollout_steps=32, environments=4, epochs=2, minibatches=2, learning_rate=1e-2, gamma=1.0, hidden=(8,)
)
ARMS = [[2.0, 0.0], [0.0, 1.0], [0.7, 0.35]]


@pytest.fixture(autouse=True)
def arms() -> None:
    """One choice among ARMS ends the episode."""

    def make_arms(num_envs: int, **options: Any) -> Any:
        model = finite_arrays([[[0, 1.0]] * 3] * 2, [ARMS] * 2, terminal=[False, True], horizon=1)
        return make_tabular(model, num_envs, id="arms", objectives=("left", "right"), discount=1.0, **options)

    register("arms", make_arms)


def settings(**changes: Any) -> dict[str, Any]:
    """A short run on three policies."""
    short = {"env": "arms", "policies": 3, "steps": 12_000, "evaluate_every": 50, "episodes": 2, "final_episodes": 50}
    return short | {"learner": LEARNER} | changes


STEP = {name: getattr(LEARNER, name) for name in ("environments", "gamma", "hidden")}
METHOD_SETTINGS: dict[str, dict[str, Any]] = {
    "ppo": {},
    "a2c": {"learner": ActorCriticConfig(rollout_steps=8, learning_rate=1e-2, **STEP)},
    "trpo": {"learner": MinibatchConfig(rollout_steps=32, learning_rate=1e-2, epochs=2, minibatches=2, **STEP)},
    "v-mpo": {"eps_eta": 0.1, "eps_alpha": 0.1,
              "learner": MinibatchConfig(rollout_steps=32, learning_rate=1e-2, epochs=2, minibatches=2, **STEP)},
}  # fmt: skip


@pytest.mark.parametrize("name", METHOD_SETTINGS)
@pytest.mark.parametrize(("weights", "best"), [((), 0), ((1.0, 3.0), 1)])
def test_the_best_arm_for_the_weights_is_found(name: str, weights: tuple[float, ...], best: int) -> None:
    # Equal weights: .5 * 2 = 1 against .5 and .525. (1, 3): 2 against 3 and 1.75.
    found = METHODS[name](**settings(weights=weights, **METHOD_SETTINGS[name])).run()
    w = np.array(weights or (0.5, 0.5))
    optimum = max(w @ arm for arm in np.array(ARMS))
    assert optimum == pytest.approx(w @ np.array(ARMS[best]))
    assert np.mean(found.indicators["value"]) > 0.93 * optimum
    assert found.indicators["value"] == pytest.approx((found.returns.mean(1) @ w).tolist())


def test_ppo_is_mo_ppo_with_a_linear_utility() -> None:
    short = settings(steps=1500)
    one = PPO(**short, weights=(1.0, 3.0)).run()
    other = MOPPO(**short, utility="linear", weights=(1.0, 3.0)).run()
    assert torch.equal(one.population.theta, other.population.theta)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("weights", [(-1.0, 2.0), (0.0, 0.0), (float("nan"), 1.0), (float("inf"), 1.0)])
def test_weights_that_cannot_be_climbed_are_refused(name: str, weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="weights must be"):
        METHODS[name](env="arms", weights=weights)


@pytest.mark.parametrize("name", METHODS)
def test_weights_of_the_wrong_number_are_refused_before_training(name: str) -> None:
    with pytest.raises((ValueError, TradeoffError), match="one for each of left, right"):
        METHODS[name](env="arms", weights=(1.0,)).start()


def test_costs_are_reported_and_have_no_weight() -> None:
    config = PPO(env="safe-deep-sea-treasure-v0", steps=600, episodes=1, final_episodes=2, learner=LEARNER)
    spec = make(config.env).spec
    run = config.start()
    m, k = len(spec.objectives), len(spec.costs)
    assert k >= 1
    weights = run.learner.scalarizer.weights(torch.zeros(1, m + k))
    assert weights.tolist() == [[1 / m] * m + [0.0] * k]
    assert config.run().channels == (*spec.objectives, *spec.costs)


def test_one_step_of_a2c_is_one_of_ppo_on_the_whole_rollout() -> None:
    # At the policy that sampled every ratio is 1, inside the clip: one epoch of one minibatch is A2C's step.
    plain = ActorCriticConfig(rollout_steps=16, learning_rate=1e-2, entropy=0.01, **STEP)
    short = {"steps": 3 * 16 * 4 * 3, "evaluate_every": 1000}
    one = A2C(**settings(learner=plain, **short)).run()
    other = PPO(**settings(learner=as_learner(plain), **short)).run()
    torch.testing.assert_close(one.population.theta, other.population.theta, rtol=0, atol=1e-5)
    assert as_learner(plain) == LearnerConfig(
        epochs=1, minibatches=1, rollout_steps=16, learning_rate=1e-2, entropy=0.01, **STEP
    )


def test_a2c_without_critic_is_reinforce() -> None:
    # Lambda 1 and values of 0: the advantage is the return, standardised, and the direction the mean of advantage times
    # score, as autograd has it.
    plain = ActorCriticConfig(rollout_steps=16, gae_lambda=1.0, **STEP)
    learner: Any = A2C(**settings(learner=plain)).start().learner
    theta = learner.population.theta
    theta[:, CRITIC] = 0.0
    data = learner._sample()["current"]
    batch = learner.prepare(data, learner.scalarizer.weights(torch.zeros(3, 2)))
    returns = fold(data.reward).mean(-1)  # equal weights
    wanted = (returns - returns.mean(1, keepdim=True)) / returns.std(1, keepdim=True)
    torch.testing.assert_close(batch.advantage, wanted, rtol=1e-4, atol=1e-4)

    actor = theta.clone().requires_grad_()
    (learner.model.log_prob(actor, batch.inputs, batch.action) * wanted).mean(1).sum().backward()
    found = learner.estimator.gradient(theta, {"current": batch}, learner._oracle([]))
    torch.testing.assert_close(found[:, ACTOR], actor.grad[:, ACTOR], rtol=1e-3, atol=1e-5)


class Target(gym.Env):
    """One action in [-1, 1], paid minus its squared distance from .3; the episode ends."""

    observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action: Any) -> Any:
        return np.ones(1, np.float32), -float((action[0] - 0.3) ** 2), True, False, {}


@pytest.mark.parametrize("name", ["a2c", "trpo", "v-mpo"])
def test_a_continuous_target_is_hit(name: str) -> None:
    # At the target the mode earns 0, at the first mean of 0 it earns -.09. -.005 is a distance of .07.
    register_gymnasium("target", Target)
    found = METHODS[name](**settings(**METHOD_SETTINGS[name]) | {"env": "target", "steps": 15_000}).run()
    assert np.mean(found.indicators["deterministic_value"]) > -0.005


def test_trpo_refuses_an_entropy_bonus_that_it_does_not_read() -> None:
    with pytest.raises(ValueError, match=r"entropy 0\.1 has no effect: trpo climbs the return alone"):
        TRPO(env="arms", learner=MinibatchConfig(entropy=0.1))


def test_trpo_is_trpo_lagrangian_at_multipliers_of_zero() -> None:
    costly, learner = "safe-deep-sea-treasure-v0", LEARNER
    short: dict[str, Any] = {"env": costly, "steps": 800, "policies": 1, "final_episodes": 2, "discount": 1.0}
    plain = MinibatchConfig(**{f.name: getattr(learner, f.name) for f in fields(MinibatchConfig)})
    one = TRPO(**short, learner=plain).run()
    solver = PlainLagrangian(rate=0.0, step="trust-region")
    other = SAFE["lagrangian"](**short, learner=learner, solver=solver, limit=("10",)).run()
    assert torch.equal(one.population.theta, other.population.theta)


@pytest.mark.parametrize("name", ["eps_eta", "eps_alpha", "eps_alpha_std", "eta", "alpha", "dual_learning_rate"])
@pytest.mark.parametrize("value", [0.0, -1.0])
def test_bad_bounds_of_v_mpo_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        VMPORun(env="arms", **{name: value})


def test_a_bound_on_standard_deviations_needs_continuous_actions() -> None:
    with pytest.raises(ValueError, match=r"eps_alpha_std 0\.0001 has no effect: the actions of arms are choices"):
        VMPORun(env="arms", eps_alpha_std=1e-4).start()


@pytest.mark.parametrize("name", METHODS)
def test_recommended_settings_fit_every_kind_of_environment(name: str) -> None:
    small, body = recommended(name, "deep-sea-treasure-v0"), recommended(name, "Pendulum-v1")
    bonus = 0.0 if name == "trpo" else 0.05
    assert small.learner.entropy == bonus and small.learner.gamma == 0.99  # those of PPO for small problems
    assert body.learner.anneal
    if name == "a2c":  # 32 / 4 and 512 / 4, at most 32
        assert (small.learner.rollout_steps, body.learner.rollout_steps) == (8, 32)


@pytest.mark.parametrize("name", METHODS)
def test_an_interrupted_run_ends_as_if_it_had_not_been(name: str, tmp_path: Path) -> None:
    config = METHODS[name](**settings(steps=3000, evaluate_every=2, **METHOD_SETTINGS.get(name, {})))
    turns = iter(range(1, 10**6))
    with pytest.raises(Interrupted):
        complete(config.start(), tmp_path, stop=lambda: next(turns) == 3)
    again = config.start()
    again.load_state_dict(load_newest(tmp_path))
    one, other = config.run(), complete(again, tmp_path)
    assert torch.equal(one.population.theta, other.population.theta) and one.table() == other.table()


def test_what_trained_policies_print_is_a_few_lines() -> None:
    found = PPO(**settings(steps=500, final_episodes=2)).run()
    lines = repr(found).splitlines()
    assert lines[0] == "Trained: 3 policies of ppo for arms" and len(lines) == 3
    assert lines[1].startswith("  left ") and lines[2].startswith("  value ")
    assert repr(found.policy(0)) == "Policy(Categorical actions, hidden layers 8)"
