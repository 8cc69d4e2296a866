"""Small constrained problems whose solutions are known, solved by exact gradients or by sampling."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from tradeoff.engine.normalisers import standard
from tradeoff.engine.scalarizers import Linear
from tradeoff.engine.updates import Update
from tradeoff.envs.protocol import EnvSpec
from tradeoff.safe.constraints import Constraint, Constraints, bind
from tradeoff.safe.duals import DualRule, Lagrangian
from tradeoff.safe.optimism import OptimisticWeights


def chances(learner: Any, observations: Tensor, context: Sequence[float] = ()) -> np.ndarray:
    """pi(a|s) [P, n, A] of the policies at observations [n, d], with what else they see."""
    model, people = learner.model, learner.population
    seen = observations.expand(len(people), *observations.shape)
    inputs = model.inputs(seen, standard(people.observations), torch.tensor(context).expand(*seen.shape[:2], -1))
    found = model.outputs(model.actor(people.theta), inputs)[0].double().softmax(-1).detach().numpy()
    return found / found.sum(-1, keepdims=True)


class Tables(NamedTuple):
    """A finite problem whose values are normalised by 1 - discount."""

    transition: np.ndarray  # [S, A, S]
    reward: np.ndarray  # [S, A, 2] objective, cost
    constraint: Constraint
    discount: float = 0.9

    def q_values(self, policy: np.ndarray) -> np.ndarray:
        """Un-normalised [S, A, 2], by the linear system."""
        chain = np.einsum("sa,sat->st", policy, self.transition)
        paid = np.einsum("sa,sam->sm", policy, self.reward)
        values = np.linalg.solve(np.eye(len(chain)) - self.discount * chain, paid)
        return self.reward + self.discount * self.transition @ values

    def returns(self, policy: np.ndarray) -> np.ndarray:
        """Normalised returns [2] from state 0."""
        return (1 - self.discount) * (policy[0] @ self.q_values(policy)[0])

    def gradient(self, policy: np.ndarray) -> np.ndarray:
        """Gradient of the normalised returns with respect to softmax logits [S, A, 2]."""
        chain = np.einsum("sa,sat->st", policy, self.transition)
        start = np.eye(len(chain))[0]
        visits = (1 - self.discount) * np.linalg.solve(np.eye(len(chain)) - self.discount * chain.T, start)
        q = self.q_values(policy)
        advantage = q - np.einsum("sa,sam->sm", policy, q)[:, None]
        return visits[:, None, None] * policy[..., None] * advantage


def _two_states() -> Tables:
    transition = np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.7, 0.3], [0.1, 0.9]]])
    reward = np.stack([[[0, 0.2], [0.5, 1.0]], [[0, 0.3], [0.2, 1.0]]], -1)
    return Tables(transition, reward, Constraint(cost="cost", limit=0.3, scale="per-step"))


def _same_reward_and_cost() -> Tables:
    paid = np.array([[[0.0, 0.0], [1.0, 1.0]]])
    return Tables(np.ones((1, 2, 1)), paid, Constraint(cost="cost", limit=0.5, scale="per-step"))


def _at_least() -> Tables:
    transition = np.zeros((2, 2, 2))
    transition[0, 0, 0] = transition[0, 1, 1] = transition[1, 0, 1] = transition[1, 1, 0] = 1
    reward = np.zeros((2, 2, 2))
    reward[0, 0, 0] = reward[0, 1, 1] = reward[1, 0, 1] = 1
    return Tables(transition, reward, Constraint(cost="cost", limit=0.5, scale="per-step", sense=">="))


PROBLEMS = {"two-states": _two_states, "reward-is-cost": _same_reward_and_cost, "at-least": _at_least}


@pytest.fixture
def problems() -> dict[str, Callable[[], Tables]]:
    """two-states: optimum .388788, multiplier .801989. The other two are paradoxical: .5 and 1, and only mixed."""
    return PROBLEMS


@pytest.fixture
def channels() -> Callable[..., EnvSpec]:
    """A spec with the given names of objectives and costs."""

    def build(objectives: tuple[str, ...] = ("reward",), costs: tuple[str, ...] = ("cost",), **more: Any) -> EnvSpec:
        see, act = spaces.Discrete(2), spaces.Discrete(2)
        return EnvSpec(id="test", observation_space=see, action_space=act, objectives=objectives, costs=costs, **more)

    return build


@pytest.fixture
def bound(channels: Callable[..., EnvSpec]) -> Callable[..., Constraints]:
    """Constraints tied to one objective 'reward' and the costs named in them."""

    def build(*given: Constraint, discount: float = 0.9, costs: tuple[str, ...] | None = None) -> Constraints:
        names = costs or tuple(dict.fromkeys(c.cost for c in given))
        return bind(given, channels(costs=names), discount=discount)

    return build


class Path(NamedTuple):
    """What exact ascent and descent went through, step by step."""

    returns: np.ndarray  # [n, 2] normalised
    multiplier: np.ndarray  # [n]
    policy: np.ndarray  # [S, A] the last one

    def amplitude(self, last: int) -> float:
        """Peak to peak of the objective over the last steps."""
        return float(np.ptp(self.returns[-last:, 0]))


@pytest.fixture
def play(bound: Callable[..., Constraints]) -> Callable[..., Path]:
    """Play the game of policy and prices with exact numbers. mirror: logits move by Q (a mirror step), else by dJ."""

    def run(tables: Tables, rule: DualRule, update: Update, steps: int, *, mirror: bool, weights: bool = False) -> Path:
        scalarizer = Lagrangian(Linear(torch.tensor([[1.0, 0]]).double()), bound(tables.constraint), rule, 1)
        priced: Any = OptimisticWeights(scalarizer) if weights else scalarizer
        states, actions = tables.reward.shape[:2]
        theta = torch.zeros(1, 1, states * actions, dtype=torch.float64)
        state, returns, multipliers = update.init(theta), [], []
        for _ in range(steps):
            policy = theta.view(states, actions).softmax(-1).numpy()
            found = torch.from_numpy(tables.returns(policy)).unsqueeze(0)
            slope = tables.q_values(policy) if mirror else tables.gradient(policy)
            step = slope @ priced.weights(found)[0].numpy()
            update.step(theta, torch.from_numpy(step).reshape(1, 1, -1), state, 1.0)
            returns.append(found[0].numpy())
            multipliers.append(float(scalarizer.multiplier))
            priced.update(found)
        return Path(np.array(returns), np.array(multipliers), policy)

    return run


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The bits then depend on nothing but the seed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tensor() -> Callable[..., Tensor]:
    """A float64 tensor of nested numbers."""
    return lambda *rows: torch.tensor(rows, dtype=torch.float64)
