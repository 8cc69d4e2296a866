"""Solvers put together: identities with the plain learner, resumption, composition, every setting."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from tradeoff.engine.actor_critic import ACTOR, CRITIC
from tradeoff.engine.learner import Learner, LearnerConfig, fresh_population
from tradeoff.engine.rollout import Rollout
from tradeoff.engine.scalarizers import Linear
from tradeoff.envs.errors import UnknownName
from tradeoff.envs.tabular import finite_arrays, make_tabular
from tradeoff.safe import first_order
from tradeoff.safe.constraints import BadLimit, Constraint
from tradeoff.safe.duals import PID
from tradeoff.safe.optimism import OptimisticWeights
from tradeoff.safe.solvers import SOLVERS, PlainLagrangian, constrained_learner
from tradeoff.safe.trust_region import Ball

CONFIG = LearnerConfig(rollout_steps=8, environments=8, epochs=2, minibatches=2, hidden=(8,), learning_rate=0.01)
LOOSE, TIGHT = 1e6, 0.1


def _env(policies=2, environments=CONFIG.environments):
    """One state; action 1 pays 1 and costs 1, action 0 neither; 4 steps per episode."""
    paid = np.array([[[0.0, 0.0], [1.0, 1.0]]])
    model = finite_arrays(np.ones((1, 2, 1)), paid[..., :1], cost=paid[..., 1:], horizon=4)
    return make_tabular(model, policies * environments, costs=("cost",), limits=(1.0,))


def _learner(solver, limit=TIGHT, policies=2, config=CONFIG, seed=0, **named):
    given = [Constraint(cost="cost", limit=limit)]
    draw = torch.Generator().manual_seed(seed)
    env = _env(policies, config.environments)
    return constrained_learner(env, given, solver, config, draw, policies=policies, **named)


def _theta(learner, iterations=4):
    for _ in range(iterations):
        learner.iterate()
    return learner.population.theta


@pytest.mark.parametrize("name", ["lagrangian", "pid-lagrangian", "augmented-lagrangian", "reload", "crpo", "p3o"])
def test_without_a_binding_limit_it_is_ppo_bit_for_bit(name) -> None:
    draw = torch.Generator().manual_seed(0)
    built = _learner(SOLVERS[name]())
    people = fresh_population(built.model, 2, draw)
    weights = Linear(torch.tensor([[1.0, 0], [1, 0]]))
    plain = Learner(built.model, Rollout(_env(), 2, 8), people, weights, CONFIG, draw, discount=1.0)
    assert torch.equal(_theta(plain), _theta(_learner(SOLVERS[name](), LOOSE)))
    assert not torch.equal(_theta(plain, 0), _theta(built, 8))


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_lowers_a_cost_that_breaks_its_limit(name) -> None:
    # Half of 4 steps cost 1 at first: 2 per episode, limit 1/10. A good step makes action 1 unlikely.
    solver = SOLVERS[name]()
    fast = {"rate": 1.0} if "rate" in {f.name for f in fields(solver)} else {}
    learner = _learner(replace(solver, **fast), config=replace(CONFIG, rollout_steps=16, learning_rate=0.03))
    _theta(learner, 20)
    assert (learner.episodes.latest[:, 1] < 1.0).all(), learner.episodes.latest
    assert learner.episodes.watch.least.shape == (2, 1)


@pytest.mark.parametrize("step", ["ppo", "trust-region", "importance", "score"])
@pytest.mark.parametrize("name", ["lagrangian", "pid-lagrangian", "augmented-lagrangian", "reload", "crpo", "ipo"])
def test_any_rule_for_weights_joins_any_policy_step(name, step) -> None:
    thetas = {s: _theta(_learner(SOLVERS[name](step=s)), 2) for s in ("ppo", step)}
    assert torch.isfinite(thetas[step]).all()
    assert torch.equal(*thetas.values()) if step == "ppo" and len(thetas) > 1 else True
    assert (thetas[step] - _learner(SOLVERS[name]()).population.theta).abs().sum() > 0


@pytest.mark.parametrize("name", SOLVERS)
def test_a_resumed_solver_goes_on_exactly(name) -> None:
    whole, first, second = (_learner(SOLVERS[name]()) for _ in range(3))
    _theta(whole, 4)
    _theta(first, 2)
    second.load_state_dict(first.state_dict())
    second.generator.set_state(first.generator.get_state())
    assert torch.equal(_theta(second, 2), whole.population.theta)


def test_policies_with_limits_of_their_own_part_ways() -> None:
    # Same prices to begin with; a limit of 4 never binds, one of 0 always does.
    given = [Constraint(cost="cost", limit=(0.0, 4.0))]
    draw = torch.Generator().manual_seed(0)
    config = replace(CONFIG, rollout_steps=16, learning_rate=0.03)
    learner = constrained_learner(_env(), given, PlainLagrangian(rate=1.0), config, draw, policies=2)
    _theta(learner, 20)
    assert learner.episodes.latest[0, 1] < 1 < 3 < learner.episodes.latest[1, 1]
    assert learner.scalarizer.multiplier[1].item() == 0 < learner.scalarizer.multiplier[0].item()


def test_trust_region_moves_no_farther_than_its_ball() -> None:
    ball = Ball(radius=0.002)
    learner = _learner(SOLVERS["augmented-lagrangian"](step="trust-region", ball=ball))
    model, before = learner.model, learner.population.theta.clone()
    learner.iterate()
    inputs = torch.ones(2, 1, 1)
    new, old = (model.outputs(model.actor(t), inputs) for t in (learner.population.theta, before))
    moved = model.head.divergence(*new, *old)
    assert (moved <= 0.0021).all() and (moved > 0.0005).any()
    assert (learner.population.theta[:, CRITIC] != before[:, CRITIC]).any()
    shorter = _learner(SOLVERS["augmented-lagrangian"](step="trust-region", ball=ball))
    shorter.iterate(0.5)
    near = model.outputs(model.actor(shorter.population.theta), inputs)
    assert (model.head.divergence(*near, *old) <= 0.0021 / 4).all()


def test_a_priced_step_in_the_ball_minds_the_price_and_not_the_limit() -> None:
    # Two costs in an episode and a limit of .1: at the price 1/2 action 1 still gains 1 - 1/2, and is learned; at 2 it
    # loses. CPO, which has no price, goes down the cost.
    grown = {}
    for name, solver in {
        "cheap": PlainLagrangian(rate=0.0, start=0.5, step="trust-region"),
        "dear": PlainLagrangian(rate=0.0, start=2.0, step="trust-region"),
        "cpo": SOLVERS["cpo"](),
    }.items():
        learner = _learner(solver, config=replace(CONFIG, environments=32))
        _theta(learner, 8)
        grown[name] = learner.episodes.latest[:, 1] - 2
    assert (grown["cheap"] > 0.3).all() and (grown["dear"] < -0.3).all() and (grown["cpo"] < -0.3).all(), grown


def test_rcpo_regresses_one_critic_on_the_penalised_reward() -> None:
    # Reward and cost of action 1 cancel at price 1: the first channel pays 0 everywhere, the others are silent.
    learner = _learner(SOLVERS["rcpo"]())
    data = learner._sample()["current"]
    batch = learner.prepare(data, torch.tensor([[1.0, -1.0]]).expand(2, 2))
    assert torch.equal(data.reward, data.cost) and data.cost.sum() > 0
    values = learner.model.values(learner.population.theta, batch.inputs, learner.population.returns)
    # Without reward, target = lambda-return of the critic's own values; one-step part: gamma * V, no reward in it.
    assert values.shape == batch.target.shape
    silent = learner.prepare(data._replace(reward=data.reward * 0, cost=data.cost * 0), torch.zeros(2, 2))
    torch.testing.assert_close(batch.target, silent.target)
    with pytest.raises(ValueError, match="critics lead"):
        SOLVERS["rcpo"](critic_speed=0.5)


def test_rcpo_runs_on_three_time_scales(monkeypatch) -> None:
    # Adam's first step moves a number by almost its rate: actors .01, critics 3 times that. The multiplier moves once
    # per 2 epochs of 2 minibatches, by .02 v: .005 per step and violation.
    learner = _learner(SOLVERS["rcpo"]())
    step, moved = learner._step, []

    def watched(gradient, rate):
        before = learner.population.theta.clone()
        step(gradient, rate)
        moved.append((learner.population.theta - before).abs().amax((0, 2)))

    monkeypatch.setattr(learner, "_step", watched)
    violation = learner.iterate()["returns"][:, 1] - TIGHT
    actor, critic = moved[0][ACTOR].item(), moved[0][CRITIC].item()
    assert (actor, critic) == pytest.approx((0.01, 0.03), rel=0.05)
    multiplier = (learner.scalarizer.multiplier[:, 0] / violation / len(moved)).tolist()
    assert multiplier == pytest.approx([0.005, 0.005]) and max(multiplier) < actor < critic
    usual = LearnerConfig()
    assert SOLVERS["rcpo"]().rate / usual.epochs / usual.minibatches < usual.learning_rate


def test_p3o_reads_the_measured_violation_per_step() -> None:
    # Four steps per episode: a quarter of what the sum exceeds its limit by.
    learner = _learner(SOLVERS["p3o"]())
    found = learner.iterate()["returns"][:, 1]
    assert learner.estimator.measured is learner.episodes
    torch.testing.assert_close(learner.episodes.violation_per_step[:, 0], (found - TIGHT) / 4)


@pytest.mark.parametrize(
    ("gamma", "gae_lambda", "factor"),
    [(0.9, 0.5, 5.5), (0.5, 1.0, 1.0), (1.0, 0.9, 0.4)],
)
def test_cup_projects_with_its_published_factor(gamma, gae_lambda, factor, monkeypatch) -> None:
    # (1 - gamma lambda) / (1 - gamma): .55 / .1; .5 / .5; without a discount .1 times the four steps of an episode.
    given: list[torch.Tensor] = []

    class Watched(first_order.Projection):
        def __init__(self, model, factor, anchor):
            given.append(factor)
            super().__init__(model, factor, anchor)

    monkeypatch.setattr(first_order, "Projection", Watched)
    config = replace(CONFIG, gamma=gamma, gae_lambda=gae_lambda)
    _theta(_learner(SOLVERS["cup"](rate=1.0), config=config), 2)
    assert len(given) == 1, "once: the first turn has no price"
    torch.testing.assert_close(given[0], torch.full_like(given[0], factor), rtol=2e-3, atol=0)


def test_cup_takes_episodes_that_have_not_ended_for_endless_ones() -> None:
    # 1 / (1 - gamma) of the published formula; without a discount a rollout stands for an episode.
    for gamma, length, ended in ((0.9, 10.0, 10.0), (1.0, 24.0, 3.0)):
        learner = _learner(SOLVERS["cup"](), config=replace(CONFIG, gamma=gamma))
        found = learner._length(torch.tensor([[torch.nan], [3.0]]), 24)
        torch.testing.assert_close(found, torch.tensor([[length], [ended]]))


def test_cup_without_a_price_is_its_first_stage() -> None:
    cup, plain = _learner(SOLVERS["cup"](), LOOSE), _learner(SOLVERS["lagrangian"](), LOOSE)
    assert torch.equal(_theta(cup), _theta(plain))


def test_the_base_may_be_any_scalarizer_and_weights_per_objective() -> None:
    weights = torch.tensor([[2.0], [3.0]])
    learner = _learner(PlainLagrangian(), base=weights)
    assert learner.scalarizer.weights(torch.zeros(2, 2)).tolist() == [[2, 0], [3, 0]]
    other = _learner(SOLVERS["reload"](), base=OptimisticWeights(Linear(torch.tensor([[2.0, 0], [2, 0]]))))
    assert torch.isfinite(_theta(other, 1)[:, ACTOR]).all()
    found = other.scalarizer.weights(torch.zeros(2, 2))
    assert found[:, 0].tolist() == [2, 2] and (found[:, 1] < 0).all()


def test_limits_that_fit_nothing_are_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean cost"):
        constrained_learner(
            _env(1), [Constraint(cost="costs", limit=1.0)], PlainLagrangian(), CONFIG, torch.Generator()
        )
    with pytest.raises(BadLimit, match="3 limits"):
        _learner(PlainLagrangian(), limit=(1.0, 2.0, 3.0))


@pytest.mark.parametrize("name", ["focops", "cup", "rcpo"])
def test_what_a_rule_does_not_read_is_refused(name: str) -> None:
    for change in ({"penalty": 0.1}, {"kd": (0.1, 0.2)}):
        with pytest.raises(ValueError, match="has no effect: rule 'optimistic' does not read it"):
            SOLVERS[name](rule="optimistic", **change)
    with pytest.raises(ValueError, match=r"strength 3\.0 has no effect: rule 'pid' does not read it"):
        SOLVERS[name](strength=3.0)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("lagrangian", {"rate": 3.0}), ("lagrangian", {"bound": 1e-3}), ("lagrangian", {"step": "score"}),
        ("lagrangian", {"start": 2.0}), ("augmented-lagrangian", {"start": 2.0}), ("reload", {"start": 2.0}),
        ("pid-lagrangian", {"rule": PID(kp=3.0, ki=0.05)}), ("augmented-lagrangian", {"penalty": 9.0}),
        ("reload", {"strength": 5.0}), ("crpo", {"tolerance": 5.0}), ("crpo", {"unit": (1e9,), "tolerance": 1e-3}),
        ("ipo", {"sharpness": 0.01}), ("ipo", {"bound": 0.01}), ("p3o", {"penalty": 0.01}),
        ("focops", {"temperature": 9.0}), ("focops", {"radius": 1e-4}), ("focops", {"penalty": 3.0}),
        ("focops", {"rule": "optimistic"}), ("cup", {"rate": 3.0}), ("cup", {"kd": 3.0}), ("cup", {"bound": 1e-3}),
        ("rcpo", {"critic_speed": 9.0}), ("rcpo", {"rule": "optimistic", "strength": 9.0}),
        ("cpo", {"ball": Ball(radius=1e-3)}), ("pcpo", {"ball": Ball(damping=1.0)}),
        ("cpo", {"ball": Ball(backtracks=0, radius=0.3)}),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:the multiplier:UserWarning")
def test_every_setting_changes_the_run(name, change) -> None:
    config = replace(CONFIG, epochs=4)
    limit = 5.0 if "sharpness" in change else TIGHT  # inside its barrier, where it is smooth
    before, after = (_theta(_learner(SOLVERS[name](**c), limit, config=config), 4) for c in ({}, change))
    assert (before[:, ACTOR] - after[:, ACTOR]).abs().max() > 1e-6
