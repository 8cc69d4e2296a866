"""Minecart: drive to five mines, fill the cart with two ores, come home, save fuel."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from envs.batched import BatchedEnv, Outcome, State
from envs.protocol import EnvSpec
from envs.seeding import normal

MINE, LEFT, RIGHT, ACCELERATE, BRAKE, IDLE = range(6)
MINES = ((0.16, 0.84), (0.5, 0.84), (0.84, 0.84), (0.84, 0.5), (0.84, 0.16))
ORES = ((0.2, 0.0), (0.15, 0.1), (0.2, 0.2), (0.1, 0.15), (0.0, 0.2))  # mean of each ore per draw, before cutting at 0
SPREAD = 0.05  # standard deviation of a draw
CAPACITY, MINE_RADIUS, BASE_RADIUS, AT_REST = 1.5, 0.14, 0.15, 0.001
FRAMES, TURN, PUSH = 4, 10, 0.0075  # frames per step; degrees and speed gained per frame
FUEL = (-0.055, -0.005, -0.005, -0.030, -0.005, -0.005)  # per frame and action
HEADINGS = 36  # the cart's angle is always 5 degrees plus a multiple of 10
SLACK = 36  # walls may turn the cart past a full circle; only steering brings the angle back


def spec(id: str) -> EnvSpec:
    """What is known before the run."""
    return EnvSpec(
        id=id, observation_space=spaces.Box(-1.0, 1.0, (7,), np.float32), action_space=spaces.Discrete(6),
        objectives=("ore_1", "ore_2", "fuel"), horizon=1000, discount=0.98, reference_point=(-1.0, -1.0, -200.0),
    )  # fmt: skip


class Minecart(BatchedEnv):
    """Ores are paid when the cart comes back to the base, which ends the episode; fuel is paid all along.

    Source: Abels et al. 2019, arXiv:1809.07803. State: position [N, 2], speed, heading (tens of degrees), ores [N, 2],
    and whether the cart has left the base.
    """

    def __init__(self, id: str, spread: float, num_envs: int, device: Any = "cpu", **options: Any) -> None:
        """spread: standard deviation of what one draw mines. options: seed, max_episode_steps."""
        angles = [(5 + 10 * h) * math.pi / 180 for h in range(-SLACK, HEADINGS + SLACK)]
        put = partial(torch.tensor, dtype=torch.float64, device=device)
        self.compass = put([[math.cos(a), math.sin(a)] for a in angles])
        self.mines, self.ores, self.spread = put(MINES), put(ORES), spread
        self.turn = torch.tensor([0, -1, 1, 0, 0, 0], device=device)
        self.push = put([0, 0, 0, PUSH, -1.0, 0])
        self.fuel = put([FRAMES * f for f in FUEL]).float()
        super().__init__(spec(id), num_envs, device, **options)

    def start(self, uniform: Tensor) -> State:
        """At the base, at rest, facing 45 degrees."""
        n, real = self.num_envs, {"dtype": torch.float64, "device": self.device}
        heading = torch.full((n,), 4, device=self.device)
        away = torch.zeros(n, dtype=torch.bool, device=self.device)
        return torch.zeros(n, **real), torch.zeros(n, **real), torch.zeros(n, **real), heading, torch.zeros(n, 2, **real), away

    def transition(self, state: State, action: Tensor, uniform: Tensor) -> Outcome:
        """Four frames: turn or accelerate, then move; mining happens only at rest, where nothing moves."""
        x, y, speed, heading, ore, away = state
        ore = self._mine(x, y, speed, ore, action)
        turn, push = self.turn[action], self.push[action]
        reward = torch.zeros(self.num_envs, 3, device=self.device)
        reward[:, 2] = self.fuel[action]
        before = over = torch.zeros_like(away)  # the original still obeys in the frame after the one that ends it
        for _ in range(FRAMES):
            speed = (speed + push * ~before).clamp_(0.0, 1.0)
            steered = (heading + turn) % HEADINGS
            heading = torch.where(before | (turn == 0), heading, steered)
            before, still = over, over | (speed < AT_REST)
            moved = _move(x, y, speed, heading, self.compass)
            old = (x, y, speed, heading)
            x, y, speed, heading = (torch.where(still, a, b) for a, b in zip(old, moved, strict=True))
            home = x * x + y * y < BASE_RADIUS**2
            over, away = over | (home & away), away | ~home
        sold = over.unsqueeze(1)
        reward[:, :2] = torch.where(sold, ore, 0.0).float()
        return Outcome((x, y, speed, heading, torch.where(sold, 0.0, ore), away), reward, over)

    def _mine(self, x: Tensor, y: Tensor, speed: Tensor, ore: Tensor, action: Tensor) -> Tensor:
        """Draw ore FRAMES times from the nearest mine for those carts that stand in its reach and mine."""
        rows = ((action == MINE) & (speed < AT_REST)).nonzero().squeeze(1)
        place = torch.stack([x[rows], y[rows]], 1).unsqueeze(1)
        distance, nearest = (place - self.mines).square().sum(-1).sqrt().min(1)
        rows, nearest = rows[distance <= MINE_RADIUS], nearest[distance <= MINE_RADIUS]
        if not len(rows):
            return ore
        luck = normal(self.random.at(rows, 2 * FRAMES)).view(-1, FRAMES, 2)
        load = ore[rows]
        for frame in range(FRAMES):
            load = fill(load, self.ores[nearest] + self.spread * luck[:, frame])
        return ore.index_put((rows,), load)

    def observe(self, state: State) -> Tensor:
        """Position, speed, sine and cosine of the heading, share of the capacity filled with each ore."""
        x, y, speed, heading, ore, _ = state
        cosine, sine = self.compass[heading + SLACK].unbind(1)
        parts = [x, y, speed, sine, cosine, ore[:, 0] / CAPACITY, ore[:, 1] / CAPACITY]
        return torch.stack(parts, 1).float()


def fill(load: Tensor, drawn: Tensor) -> Tensor:
    """Add drawn ores [n, 2] to loads [n, 2]: negative draws count as none, an overflow is scaled to what still fits."""
    drawn = drawn.clamp_min(0.0)
    total, free = drawn.sum(1, keepdim=True), CAPACITY - load.sum(1, keepdim=True)
    return load + torch.where(total > free, drawn * (free / total), drawn)


def _move(x: Tensor, y: Tensor, speed: Tensor, heading: Tensor, compass: Tensor) -> tuple[Tensor, ...]:
    """One frame: along a wall the cart slides and turns by 10 degrees; the speed is what was really covered."""
    dx, dy = (speed.unsqueeze(1) * compass[heading + SLACK]).unbind(1)
    side, level = torch.sign(dx).long(), torch.sign(dy).long()
    beside = ((x == 1) & (dx > 0)).long() - ((x == 0) & (dx < 0)).long()
    across = ((y == 1) & (dy > 0)).long() - ((y == 0) & (dy < 0)).long()
    inside_x, inside_y = (x != 0) & (x != 1) & (dx.abs() > AT_REST), (y != 0) & (y != 1) & (dy.abs() > AT_REST)
    turned = heading + beside * level * inside_y - across * side * inside_x
    x2, y2 = (x + dx).clamp_(0.0, 1.0), (y + dy).clamp_(0.0, 1.0)
    gone_x, gone_y = x - x2, y - y2
    covered = torch.addcmul(gone_x * gone_x, gone_y, gone_y).sqrt_()  # fused, as numpy's dot product: the last bit decides
    return x2, y2, covered, turned.clamp_(-SLACK, HEADINGS + SLACK - 1)


def published_front(id: str, discount: float) -> NDArray[np.float64]:
    """The front that mo-gymnasium publishes [n, 3]: an approximation that learning can beat."""
    import mo_gymnasium

    env: Any = mo_gymnasium.make(id).unwrapped
    return np.array(env.pareto_front(discount))


ENVIRONMENTS = {id: partial(Minecart, id, spread) for id, spread in (("minecart-v0", SPREAD), ("minecart-deterministic-v0", 0.0))}
