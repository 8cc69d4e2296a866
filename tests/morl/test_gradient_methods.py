"""Rules on gradients as methods: what the adapters compute, where runs arrive, and that they go on exactly."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from tests.engine.estimators.conftest import world as world  # a fixture here too
from tradeoff.engine import LearnerConfig
from tradeoff.engine.compositions import constant
from tradeoff.engine.episodes import coefficients
from tradeoff.engine.estimators import RETURNS
from tradeoff.engine.recursion import GRADIENT, Recursion
from tradeoff.engine.scores import linearise
from tradeoff.envs import finite_arrays, make, make_tabular, register
from tradeoff.morl.gradient_methods import METHODS, Chooser, Ruled, fitted, stationarity
from tradeoff.morl.gradient_rules import gram, mgda, nash
from tradeoff.morl.rules import EPO, MGDA, Influence, NashMTL, PCGrad


def meals(num_envs: int, **options: Any) -> Any:
    """Two choices in a row, each pays (1, 0), (0, 2) or (.3, .5): less than a mixture of the first two.

    Returns (2 x, 4 (1 - x)), x the mean share of the first choice: a front from (2, 0) to (0, 4), others below it.
    """
    transition = np.zeros((3, 3, 3))
    for s in range(3):
        transition[s, :, min(s + 1, 2)] = 1
    reward = np.tile([[1.0, 0.0], [0.0, 2.0], [0.3, 0.5]], (3, 1, 1))
    model = finite_arrays(transition, reward, terminal=[False, False, True], horizon=2)
    return make_tabular(
        model, num_envs, id="meals", objectives=("left", "right"), discount=1.0, reference_point=(0, 0), **options
    )


@pytest.fixture(autouse=True)
def registered() -> None:
    register("meals", meals)


WHOLE: dict[str, Any] = {
    "env": "meals", "policies": 2, "hidden": (8,), "evaluate_every": 40, "final_episodes": 4000, "steps": 60_000,
    "batch": 64, "learning_rate": 0.05,
}  # fmt: skip
PPO = LearnerConfig(
    rollout_steps=8, environments=32, epochs=2, minibatches=2, learning_rate=0.01, hidden=(8,), gamma=1.0, anneal=True
)
PROXIMAL: dict[str, Any] = {
    "env": "meals", "policies": 2, "evaluate_every": 40, "final_episodes": 4000, "steps": 60_000, "learner": PPO,
}  # fmt: skip


def _made(name: str, **changes: Any) -> Any:
    return METHODS[name](**({**PROXIMAL, **changes} if name.endswith("-ppo") else {**WHOLE, **changes}))


@pytest.mark.parametrize("name", METHODS)
def test_every_rule_comes_to_the_front(name: str) -> None:
    """2 J0 + J1 is 4 on the front, 1.1 * 2 for the third choice alone, 2.7 for even odds (the start)."""
    found = _made(name).run()
    returns = found.returns.mean(1)
    assert (2 * returns[:, 0] + returns[:, 1]).min() > 3.85
    assert found.indicators["real_environment_steps"]["training"] >= 50_000


@pytest.mark.parametrize("name", ["epo", "epo-ppo"])
@pytest.mark.parametrize("ray", [(1.0, 1.0), (1.0, 4.0)])
def test_exact_search_comes_to_the_point_on_the_ray(name: str, ray: tuple[float, float]) -> None:
    # (2 x, 4 - 4 x) = t ray: ray (1, 1): t = 4/3, at (4/3, 4/3); ray (1, 4): t = 2/3, at (2/3, 8/3).
    t = 4 / (2 * ray[0] + ray[1])
    found = _made(name, rule=EPO(ray=ray), steps=90_000).run()
    np.testing.assert_allclose(found.returns.mean(1), [[t * ray[0], t * ray[1]]] * 2, atol=0.12)
    assert found.indicators["value"] == pytest.approx([t, t], abs=0.08)


def test_the_direction_is_the_rules_mixture_of_exact_gradients(world: Any) -> None:
    """Under enumeration: MGDA of the exact gradients, scaled by the weights that come in."""
    every = world.every(world.theta)
    estimator = Ruled(Recursion(eta=constant(1.0)), Chooser(MGDA(unit=False), 1.0), 2)
    data = {GRADIENT: every, RETURNS: every}
    estimator.returns(world.model, world.theta, data)
    found = estimator.direction(world.model, world.theta, data, torch.ones(1, 2).double())
    exact = torch.cat([world.gradient(world.theta, row)[:, 0] for row in torch.eye(2).double()]).unsqueeze(0)
    weights = mgda(gram(exact))
    torch.testing.assert_close(found[:, 0], torch.einsum("pm,pmd->pd", weights, exact), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(estimator.diagnostics["weights"], weights)
    torch.testing.assert_close(estimator.diagnostics["stationarity"], stationarity(exact))
    assert 0 < weights[0, 0] < 1 or weights.max() == 1


def test_the_rule_reads_the_other_batch(world: Any) -> None:
    one, other = (world.drawn(world.theta, 1, 40, Generator().manual_seed(seed)) for seed in (1, 2))
    estimator = Ruled(Recursion(eta=constant(1.0)), Chooser(NashMTL(), 1.0), 2)
    estimator.returns(world.model, world.theta, {GRADIENT: one, RETURNS: other})
    found = estimator.direction(world.model, world.theta, {GRADIENT: one, RETURNS: other}, torch.ones(1, 2).double())

    def rows(episodes: Any) -> Tensor:
        _, pull = linearise(world.model, world.theta, episodes)
        return torch.stack([pull(coefficients(x, episodes.alive))[:, 0] for x in episodes.paid.unbind(-1)], 1)

    weights = nash(gram(rows(other)))
    torch.testing.assert_close(found[:, 0], torch.einsum("pm,pmd->pd", weights, rows(one)), rtol=1e-9, atol=1e-12)


def test_answers_are_remembered() -> None:
    chooser = Chooser(MGDA(unit=False), 0.25)
    first, second = torch.tensor([[[2.0, 0], [0, 1]]]), torch.tensor([[[1.0, 0], [0, 1]]])
    assert chooser.choose(first, torch.zeros(1, 2))[0].tolist() == pytest.approx([0.2, 0.8])
    # .25 * (.5, .5) + .75 * (.2, .8)
    assert chooser.choose(second, torch.zeros(1, 2))[0].tolist() == pytest.approx([0.275, 0.725])


def test_orders_differ_from_step_to_step_and_influence_accumulates() -> None:
    g = torch.randn(1, 4, 6, generator=Generator().manual_seed(0))
    memory: dict[str, Tensor] = {}
    answers = [PCGrad(unit=False).weights(gram(g), torch.zeros(1, 4), memory) for _ in range(4)]
    assert memory["turn"].item() == 4 and len({tuple(x[0].tolist()) for x in answers}) > 1
    # Orthogonal gradients, brought to length 1: influences 1 and 1, weights stay even. With a third along the first:
    # influences 2, 1, 2: logarithms of the weights part by .1 per step.
    same = torch.tensor([[[1.0, 0], [0, 5], [3, 0]]])
    memory, rule = {}, Influence(rate=0.1, floor=1e-9)
    for _ in range(3):
        weights = rule.weights(gram(same), torch.zeros(1, 3), memory) * torch.tensor([[1.0, 5, 3]])
    want = np.exp([0.6, 0.3, 0.6])
    np.testing.assert_allclose(weights[0], want / want.sum(), rtol=1e-5)


def test_stationarity_by_hand() -> None:
    # Opposed: 0. Right angle: the middle of two unit vectors, 1 / sqrt 2. Equal: 1. Lengths do not count.
    g = torch.tensor([[[1.0, 0], [-9, 0]], [[1, 0], [0, 7]], [[2, 2], [3, 3]]])
    assert stationarity(g).tolist() == pytest.approx([0, 0.5**0.5, 1], abs=1e-5)


@pytest.mark.parametrize("name", ["mgda", "pcgrad", "epo-ppo", "dynamic-weights-ppo"])
def test_a_run_goes_on_exactly(name: str) -> None:
    config = _made(name, steps=12_000, evaluate_every=3)
    run, other = config.start(), config.start()
    for _ in range(3):
        run.advance()
    other.load_state_dict(deepcopy(run.state_dict()))  # a file shares no memory either
    for _ in range(3):
        assert run.advance() == other.advance()
    assert torch.equal(run.learner.population.theta, other.learner.population.theta)
    assert np.shape(run.history[-1]["weights"]) == (2, 2) and np.shape(run.history[-1]["stationarity"]) == (2,)


def test_settings_that_do_not_fit_are_refused() -> None:
    spec = make("meals").spec
    assert fitted(EPO(ray=(2.0,)), spec) == EPO(ray=(2.0, 2.0), reference=(0, 0))
    for rule, words in (
        (EPO(ray=(1.0, 2.0, 3.0)), "ray has 3 numbers for 2"),
        (EPO(reference=(1.0, 2.0, 3.0)), "reference has 3 numbers for 2"),
    ):
        with pytest.raises(ValueError, match=words):
            _made("epo", rule=rule).start()
    with pytest.raises(ValueError, match="no reference point"):
        fitted(EPO(), replace(spec, reference_point=None))
    with pytest.raises(ValueError, match="two or more objectives"):
        fitted(MGDA(), replace(spec, objectives=("one",), reference_point=None))
    for bad in ({"ray": (1.0, 0.0)}, {"ray": ()}, {"balanced": 0.0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            EPO(**bad)
    with pytest.raises(ValueError, match="eta must lie in"):
        _made("mgda", eta=0.0)
