"""Four rooms: one walk by hand (the comparison with the original is in test_faithful)."""

from __future__ import annotations

import torch

from tradeoff.envs import make
from tradeoff.envs.four_room import MAZE, SHAPES

LEFT, UP, RIGHT, DOWN = range(4)


def test_the_map_holds_four_shapes_of_each_kind():
    assert [sum(row.count(kind) for row in MAZE) for kind in "123"] == [4, 4, 4] and len(SHAPES) == 12


def test_a_walk_by_hand():
    """From (12, 0) five up to the wall in row 6, then to the opening at its column 2."""
    env = make("four-room-v0", 1)
    assert env.observe(env.state)[0].tolist() == [12.0, 0.0] + [0.0] * 12
    walk = [UP] * 6 + [RIGHT] * 2 + [UP] + [DOWN, UP]
    steps = [env.step(torch.tensor([a])) for a in walk]
    places = [s.observation[0, :2].tolist() for s in steps]
    # row 6 is "XX3 XXX...": (6, 0) is wall, so the sixth UP stays at row 7; (6, 2) holds a red shape, paid once.
    assert places[4:6] == [[7.0, 0.0], [7.0, 0.0]] and places[-3:] == [[6.0, 2.0], [7.0, 2.0], [6.0, 2.0]]
    assert [s.reward[0].tolist() for s in steps[-3:]] == [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    flags = steps[-1].observation[0, 2:]
    assert flags.sum() == 1 and SHAPES[int(flags.argmax())] == (6, 2)


def test_the_goal_pays_every_kind_and_ends():
    env = make("four-room-v0", 1)
    env.state = (torch.tensor([11]), torch.tensor([0b101]))  # (0, 11), beside the goal, two shapes collected
    step = env.step(torch.tensor([RIGHT]))
    assert step.reward.tolist() == [[1.0, 1.0, 1.0]] and step.terminated.item()
    assert step.final_observation[0].tolist() == [0.0, 12.0, 1.0, 0.0, 1.0] + [0.0] * 9
    assert step.observation[0].tolist() == [12.0, 0.0] + [0.0] * 12
