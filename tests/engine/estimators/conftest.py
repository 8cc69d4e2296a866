"""Every trajectory of a small random problem, so that the mean of an estimator is a finite sum.

Three states and an end, two actions, four steps, two channels, start in state 0, discount 0.9. An episode ends where
state 3 is entered, or after four steps. Everything is float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Generator, Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.episodes import Episodes, discounted, unfold
from tradeoff.engine.features import Features
from tradeoff.engine.heads import Categorical
from tradeoff.engine.trajectories import fold

STATES, ACTIONS, HORIZON, DISCOUNT, END = 3, 2, 4, 0.9, 3
EYE = torch.eye(STATES + 1).double()


def _paths(steps: int, state: int = 0) -> Iterator[list[tuple[int, int, int]]]:
    """Every list of (state, action, successor); after the end action 0 is repeated."""
    if steps == 0:
        yield []
        return
    for action in range(ACTIONS if state != END else 1):
        for after in range(STATES + 1) if state != END else (END,):
            for rest in _paths(steps - 1, after):
                yield [(state, action, after), *rest]


@dataclass(frozen=True)
class World:
    """The problem and one network for it."""

    model: ActorCritic
    kernel: Tensor  # [3, 2, 4]
    reward: Tensor  # [4, 2, 2], nothing in the end
    theta: Tensor  # [1, 2, D]
    states: Tensor  # [T, n]
    actions: Tensor  # [T, n]
    successors: Tensor  # [T, n]

    def policy(self, theta: Tensor) -> Tensor:
        """pi(a|s) [4, 2]."""
        return self.model.outputs(self.model.actor(theta), EYE.unsqueeze(0))[0][0].softmax(-1)

    def returns(self, theta: Tensor) -> Tensor:
        """Exact J [2] by backward induction; differentiable."""
        policy, values = self.policy(theta)[:STATES], torch.zeros(STATES + 1, 2).double()
        for _ in range(len(self.states)):
            q = self.reward[:STATES] + DISCOUNT * torch.einsum("san,nc->sac", self.kernel, values)
            values = torch.cat([torch.einsum("sa,sac->sc", policy, q), torch.zeros(1, 2).double()])
        return values[0]

    def gradient(self, theta: Tensor, weights: Tensor) -> Tensor:
        """Exact gradient [1, 2, D] of weights . J."""
        leaf = theta.clone().requires_grad_()
        return torch.autograd.grad(self.returns(leaf) @ weights, leaf)[0]

    def chance(self, theta: Tensor) -> Tensor:
        """Probability [n] of each trajectory."""
        live = self.states != END
        moves = self.kernel[self.states.clamp(max=STATES - 1), self.actions, self.successors]
        taken = self.policy(theta)[self.states, self.actions]
        return torch.where(live, moves * taken, 1.0).prod(0)

    def every(self, theta: Tensor) -> Episodes:
        """Each trajectory once, paid n times its chance: the mean over trajectories is an expectation under theta."""
        n = self.states.shape[1]
        return self.episodes(theta, torch.arange(n).unsqueeze(0), n * self.chance(theta).unsqueeze(0))

    def drawn(self, theta: Tensor, policies: int, count: int, generator: Generator) -> Episodes:
        """Samples: `count` trajectories for each of P stacked copies of theta [1, 2, D]."""
        index = torch.multinomial(self.chance(theta), policies * count, replacement=True, generator=generator)
        return self.episodes(theta.expand(policies, -1, -1), index.view(policies, count))

    def episodes(self, theta: Tensor, index: Tensor, scale: Tensor | None = None) -> Episodes:
        """Chosen trajectories [P, B] as seen by theta [P, 2, D], paid times scale [P, B]."""
        states, actions = self.states[:, index], self.actions[:, index]
        alive, inputs, action = states != END, fold(EYE[states]), fold(actions).unsqueeze(-1)
        log_prob = unfold(self.model.log_prob(theta, inputs, action).detach(), len(states))
        paid = discounted(self.reward[states, actions], alive, DISCOUNT)
        return Episodes(inputs, action, log_prob, paid if scale is None else paid * scale.unsqueeze(-1), alive)


def _world(horizon: int, kernel: Tensor | None = None) -> World:
    """kernel: [3, 2, 4]; None: a random one. Trajectories without probability are left out."""
    draw = Generator().manual_seed(0)
    model = ActorCritic(Features(1, (0,), (STATES + 1,)), Categorical((ACTIONS,)), 2, (4,))
    random = (2 * torch.randn(STATES, ACTIONS, STATES + 1, generator=draw).double()).softmax(-1)
    reward = torch.randn(STATES + 1, ACTIONS, 2, generator=draw).double()
    reward[END] = 0.0
    theta = torch.randn(1, 2, model.network.parameters, generator=draw).double()
    found = World(
        model, random if kernel is None else kernel, reward, theta,
        *torch.tensor(list(_paths(horizon))).permute(2, 1, 0),
    )  # fmt: skip
    possible = found.chance(theta) > 0
    return replace(found, **{name: getattr(found, name)[:, possible] for name in ("states", "actions", "successors")})


@pytest.fixture(scope="session")
def world() -> World:
    return _world(HORIZON)


@pytest.fixture(scope="session")
def short() -> World:
    """The same for two steps: few enough trajectories to list the pairs of them."""
    return _world(2)


@pytest.fixture(scope="session")
def branches() -> World:
    """Two or three steps without chance but the policy's: six trajectories, few enough to list their quadruples."""
    kernel = torch.zeros(STATES, ACTIONS, STATES + 1).double()
    for state, action, after in ((0, 0, 1), (0, 1, 2), (1, 0, 2), (1, 1, END), (2, 0, 1), (2, 1, END)):
        kernel[state, action, after] = 1.0
    return _world(3, kernel)


@pytest.fixture(scope="session")
def near(world: World) -> Tensor:
    """Other actors [1, 2, D] a short step away from the world's."""
    return world.theta + 0.3 * torch.randn(world.theta.shape, generator=Generator().manual_seed(1)).double()
