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

from tradeoff.envs.batched import BatchedEnv, Outcome, State
from tradeoff.envs.protocol import EnvSpec
from tradeoff.envs.seeding import normal

MINE, LEFT, RIGHT, ACCELERATE, BRAKE, IDLE = range(6)
MINES = ((0.16, 0.84), (0.5, 0.84), (0.84, 0.84), (0.84, 0.5), (0.84, 0.16))
ORES = ((0.2, 0.0), (0.15, 0.1), (0.2, 0.2), (0.1, 0.15), (0.0, 0.2))  # mean of each ore per draw, before cutting at 0
SPREAD = 0.05  # standard deviation of a draw
CAPACITY, MINE_RADIUS, AT_REST = 1.5, 0.14, 0.001
HOME = math.nextafter(0.15**2, 0.0)  # the least square whose root is not below 0.15, the radius of the base
FRAMES, HORIZON = 4, 1000  # frames per step, steps per episode
PUSH = (0.0, 0.0, 0.0, 0.0075, -1.0, 0.0)  # speed gained per frame, by action
LANE = (0, 1, 2, 0, 0, 0)  # straight, left or right, by action
FUEL = (-0.055, -0.005, -0.005, -0.030, -0.005, -0.005)  # per frame, by action
CIRCLE = 36  # the cart's angle is always 5 degrees plus a multiple of 10


class Minecart(BatchedEnv):
    """Ores are paid when the cart comes back to the base, which ends the episode; fuel is paid all along.

    State, each [N]: x, y, speed, heading (a column of the compass), load of both ores, whether the cart has left the
    base. Its numbers follow the original's to the last bit, on processors where numpy adds squares in one rounding: at
    the walls, a last bit decides whether the cart turns.
    Source: Abels et al. 2019, arXiv:1809.07803.
    """

    def __init__(self, id: str, spread: float, num_envs: int, device: Any = "cpu", **options: Any) -> None:
        """spread: standard deviation of what one draw mines. options: seed, max_episode_steps."""
        put = partial(torch.tensor, dtype=torch.float64, device=device)
        self.mines, self.ores, self.spread = put(MINES), put(ORES), spread
        # Walls turn the cart past full circles, by up to a notch per frame; only steering brings the angle back.
        self.ahead = FRAMES * (options.get("max_episode_steps") or HORIZON) + CIRCLE
        angles = [(45 + 10 * notch) * math.pi / 180 for notch in range(-self.ahead, self.ahead + 1)]
        self.compass = put([[math.cos(a) for a in angles], [math.sin(a) for a in angles]])
        self.quadrant = torch.sign(self.compass[0] * self.compass[1]).long()
        self.steer, self.steer_all = (_steering(self.ahead, notches).to(device) for notches in (1, FRAMES))
        self.lane = len(angles) * torch.tensor(LANE, device=device)
        self.push, self.price = put(PUSH), put([[0.0, 0.0, FRAMES * f] for f in FUEL]).float()
        spec = EnvSpec(
            id=id, observation_space=spaces.Box(-1.0, 1.0, (7,), np.float32), action_space=spaces.Discrete(6),
            objectives=("ore_1", "ore_2", "fuel"), horizon=HORIZON, discount=0.98, reference_point=(-1.0, -1.0, -200.0),
        )  # fmt: skip
        super().__init__(spec, num_envs, device, **options)

    def start(self, uniform: Tensor) -> State:
        """At the base, at rest, facing 45 degrees."""
        n, zero = self.num_envs, torch.zeros(self.num_envs, dtype=torch.float64, device=self.device)
        heading = torch.full((n,), self.ahead, device=self.device)
        return zero, zero, zero, heading, zero, zero, torch.zeros(n, dtype=torch.bool, device=self.device)

    def transition(self, state: State, action: Tensor, uniform: Tensor) -> Outcome:
        """Mine, drive, sell. Carts at rest are many: they mine or turn on the spot, and only the others are moved."""
        x, y, speed, heading, first, second, away = state
        first, second = self._mine(x, y, speed, first, second, action)
        push, lane = self.push.index_select(0, action), self.lane.index_select(0, action)
        speed = (speed + push).clamp_(0.0, 1.0)
        rows = (speed >= AT_REST).nonzero().squeeze(1)
        old = (torch.stack([x, y]), speed, self.steer_all.index_select(0, lane + heading), away)
        driven = [part.index_select(-1, rows) for part in (old[0], speed, heading, away, push, lane)]
        *new, came_home = self._drive(*driven)
        (x, y), speed, heading, away = (part.index_copy(-1, rows, moved) for part, moved in zip(old, new, strict=True))
        over = torch.zeros_like(away).index_copy_(0, rows, came_home)
        reward = self.price.index_select(0, action)
        sold_first, sold_second = torch.where(over, first, 0.0), torch.where(over, second, 0.0)
        reward[:, 0], reward[:, 1] = sold_first, sold_second
        return Outcome((x, y, speed, heading, first - sold_first, second - sold_second, away), reward, over)

    def _drive(
        self, place: Tensor, speed: Tensor, heading: Tensor, away: Tensor, push: Tensor, lane: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """All frames of a step, its first push done. In the frame after it came home a cart obeys but stands still."""
        over = torch.zeros_like(away)
        for frame in range(FRAMES):
            speed = (speed + push).clamp_(0.0, 1.0) if frame else speed
            heading = self.steer.index_select(0, lane + heading)
            pace = torch.where(over | (speed < AT_REST), 0.0, speed)
            push, lane = push.masked_fill(over, 0.0), lane.masked_fill(over, 0)
            place, speed, heading = self._move(place, pace, speed, heading)
            home = torch.addcmul(place[0] * place[0], place[1], place[1]) < HOME
            over, away = over | (home & away), away | ~home
        return place, speed, heading, away, over

    def _move(self, place: Tensor, pace: Tensor, speed: Tensor, heading: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One frame. Along a wall the cart slides and turns by a notch; its speed is then what it really covered."""
        stride = self.compass.index_select(1, heading).mul_(pace)
        reached = (place + stride).clamp_(0.0, 1.0)
        free = (place > 0) & (place < 1) & (stride.abs() > AT_REST)
        turned = ((reached == place) & free.flip(0)).long()  # pressed against one wall, free along it
        turn = (turned[0] - turned[1]).mul_(self.quadrant.index_select(0, heading))
        return reached, torch.where(pace > 0, length(*(reached - place)), speed), heading + turn

    def _mine(
        self, x: Tensor, y: Tensor, speed: Tensor, first: Tensor, second: Tensor, action: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Draw ore once per frame for the carts that mine, at rest and in reach of a mine (no place reaches two)."""
        rows = ((action == MINE) & (speed < AT_REST)).nonzero().squeeze(1)
        gaps = torch.stack([x[rows], y[rows]], 1).unsqueeze(1) - self.mines
        reaching, mine = (length(*gaps.unbind(2)) <= MINE_RADIUS).nonzero(as_tuple=True)
        rows = rows[reaching]
        if not len(rows):
            return first, second
        luck = normal(self.random.at(rows, 2 * FRAMES)).view(-1, FRAMES, 2)
        load = torch.stack([first[rows], second[rows]], 1)
        load = fill(load, (self.ores[mine].unsqueeze(1) + self.spread * luck).clamp_min_(0.0))
        return first.index_put((rows,), load[:, 0]), second.index_put((rows,), load[:, 1])

    def observe(self, state: State) -> Tensor:
        """Position, speed, sine and cosine of the heading, share of the capacity filled with each ore."""
        x, y, speed, heading, first, second, _ = state
        cosine, sine = self.compass.index_select(1, heading)
        look = torch.empty(self.num_envs, 7, device=self.device)
        look.t().copy_(torch.stack([x, y, speed, sine, cosine, first / CAPACITY, second / CAPACITY]))
        return look


def _steering(ahead: int, notches: int) -> Tensor:
    """New column of the compass, by lane and old column [3 * columns]; steering leads to between 0 and 360 degrees."""
    straight = torch.arange(2 * ahead + 1)
    first = ahead - 4  # the column of 5 degrees
    left, right = (first + (straight - first + turn) % CIRCLE for turn in (-notches, notches))
    return torch.cat([straight, left, right])


def length(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean length, the same on every machine: squares added in one rounding, root to the nearest number.

    Numpy's library adds them so on some processors, and in two roundings on others.
    """
    square = torch.addcmul(x * x, y, y)
    root = square.sqrt()  # on long tensors one unit in the last place off, now and then
    rest = torch.addcmul(square, root, root, value=-1.0)
    return root.addcdiv_(rest, root.clamp_min(1e-300), value=0.5)


def fill(load: Tensor, drawn: Tensor) -> Tensor:
    """Add draws [n, draws, 2] in turn to loads [n, 2]; a draw that overflows is scaled to what still fits."""
    size = drawn.sum(2)
    free = (CAPACITY - load.sum(1, keepdim=True)) - (size.cumsum(1) - size)
    share = (free / size.clamp_min(1e-300)).clamp_(0.0, 1.0)
    return load + (drawn * share.unsqueeze(2)).sum(1)


def published_front(id: str, discount: float) -> NDArray[np.float64]:
    """The front that mo-gymnasium publishes [n, 3]: an approximation that learning can beat."""
    import mo_gymnasium

    env: Any = mo_gymnasium.make(id).unwrapped
    return np.array(env.pareto_front(discount))


ENVIRONMENTS = {
    "minecart-v0": partial(Minecart, "minecart-v0", SPREAD),
    "minecart-deterministic-v0": partial(Minecart, "minecart-deterministic-v0", 0.0),
}
