"""Costs of any gymnasium environment: from its info, beside its reward, part of its reward, or of a user's making."""

from __future__ import annotations

import warnings
from typing import ClassVar

import gymnasium as gym
import mo_gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from tradeoff.envs import NumericalTrouble, TradeoffError, gymnasium_adapter, make, register_gymnasium, registry
from tradeoff.envs.gymnasium_adapter import GymnasiumEnv


class Yard(gym.Env):
    """Steps as safety-gymnasium's do: the cost stands after the reward, and the info says what it is made of."""

    observation_space, action_space = spaces.Box(-9, 9, (2,), np.float64), spaces.Box(-1, 1, (2,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-1, 1, 2)
        return self.place.copy(), {}

    def step(self, action):
        self.place = self.place + action
        info = {"cost_hazards": float(self.place[0] > 0), "cost_gremlins": 2.0 * float(self.place[1] > 0)}
        info["cost_sum"] = info["cost_hazards"] + info["cost_gremlins"]
        done = bool(abs(self.place).max() > 2)
        return self.place.copy(), float(action[0]), info["cost_sum"], done, False, info


class Tap(gym.Env):
    """Shows how far it is open, in one array that it writes into for ever; a opens it by a and pays (a, -2 a)."""

    observation_space, action_space = spaces.Box(0, 99, (1,), np.float64), spaces.Discrete(3)
    told: ClassVar[dict] = {}  # what a step says besides, from the fourth step of an episode on

    def reset(self, *, seed=None, options=None):
        self.seen = getattr(self, "seen", np.zeros(1))
        self.seen[0], self.clock = 10, 0
        return self.seen, {}

    def step(self, action):
        self.seen += action
        self.clock += 1
        said = {"leak": 0.5 * action, "other": "x", "down": 1.0}
        if self.clock > 3:
            said |= self.told
            said = {key: value for key, value in said.items() if value is not None}
        return self.seen, np.array([action, -2.0 * action]), False, False, said


def spilt(before, action, after, info):
    """Two costs: what was open before, and the action times what is open now."""
    return before[0], action * after[0]


def spilt_wrongly(before, action, after, info):
    return [1.0] if before < 13 else [1.0, 2.0]


ACTIONS = ([1, 2], [2, 0], [0, 1])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_cost_after_the_reward_and_what_it_is_made_of(workers):
    named = GymnasiumEnv(Yard, 2, seed=4, workers=workers, costs=("cost_sum", "cost_hazards", "gremlins=cost_gremlins"))
    plain = GymnasiumEnv(Yard, 2, seed=4, workers=workers)
    assert named.spec.costs == ("cost_sum", "cost_hazards", "gremlins") and plain.spec.costs == ("cost",)
    originals, generator, ends, paid = [Yard() for _ in range(2)], np.random.default_rng(0), 0, np.zeros(3)
    for i, original in enumerate(originals):
        original.reset(seed=4 + i)
    for _ in range(60):
        action = generator.uniform(-1, 1, (2, 2))
        step, other = named.step(torch.from_numpy(action)), plain.step(torch.from_numpy(action))
        for i, original in enumerate(originals):
            _, reward, cost, done, _, info = original.step(action[i])
            assert step.cost[i].tolist() == [cost, info["cost_hazards"], info["cost_gremlins"]]
            assert other.cost[i].tolist() == [cost] and step.reward[i].tolist() == [reward]
            ends, paid = ends + done, paid + step.cost[i].numpy()
            if done:
                original.reset()
    assert ends > 5 and paid.min() > 5, "episodes ended, and every channel was paid"
    named.close(), plain.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_parts_of_the_reward_of_an_original_become_costs(workers):
    """Of (time, reverse, forward) of the mountain car, penalties of -1 all, the last two become costs of 1."""
    env = GymnasiumEnv(
        "mo-mountaincar-v0", 2, seed=3, workers=workers, objectives=("time", "reverse", "forward"),
        costs=("-reverse", "pushes=-reward[2]"), limits=(9.0, 8.0), max_episode_steps=40,
    )  # fmt: skip
    assert env.spec.objectives == ("time",) and env.spec.costs == ("reverse", "pushes") and env.spec.limits == (9, 8)
    originals = [mo_gymnasium.make("mo-mountaincar-v0", max_episode_steps=40) for _ in range(2)]
    for i, original in enumerate(originals):
        original.reset(seed=3 + i)
    generator, sums = np.random.default_rng(0), np.zeros(2)
    for _ in range(100):
        action = generator.integers(3, size=2)
        step = env.step(torch.from_numpy(action))
        for i, original in enumerate(originals):
            _, reward, terminated, truncated, _ = original.step(action[i])
            assert step.reward[i].tolist() == [reward[0]]
            assert step.cost[i].tolist() == [-reward[1], -reward[2]]
            sums += step.cost[i].numpy()
            if terminated or truncated:
                original.reset()
    assert not torch.signbit(step.cost).any(), "no -0"
    assert sums.min() > 40 and sums.sum() < 200
    env.close()


def test_a_reference_point_follows_the_objectives_that_are_left(monkeypatch):
    monkeypatch.setitem(gymnasium_adapter.KNOWN, "tap", gymnasium_adapter.Known(("up", "low"), (-101.0, -1001.0)))
    env = GymnasiumEnv(Tap, 1, id="tap", costs=("up",))
    assert env.spec.objectives == ("low",) and env.spec.reference_point == (-1001,)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_function_sees_the_step_as_the_environment_does(workers):
    """Open 10 at first. Copy 0 does 1, 2, 0 and copy 1 does 2, 0, 1: open 11, 13, 13 and 12, 12, 13. A cut after two
    steps opens at 10 again."""
    env = GymnasiumEnv(Tap, 2, workers=workers, costs=(spilt,), max_episode_steps=2)
    assert env.spec.costs == ("spilt_0", "spilt_1")
    paid = [env.step(torch.tensor(action)).cost.tolist() for action in ACTIONS]
    assert paid == [[[10, 11], [10, 24]], [[11, 26], [12, 0]], [[10, 0], [10, 11]]]
    env.close()


@pytest.mark.parametrize(
    ("costs", "names", "paid"),
    [
        ({"a": "leak", "b": "-reward[1]"}, ("a", "b"), [0.5, 2]),
        (("-reward[1]",), ("low",), [2]),
        (("x=reward[0]", "-info[down]"), ("x", "down"), [1, -1]),
        ((lambda before, action, after, info: 3 * info["leak"],), ("cost",), [1.5]),
        ((f"both={__name__}:spilt",), ("both_0", "both_1"), [10, 11]),
        (("reward[1]", "y=-low"), ("low", "y"), [-2, 2]),
    ],
)
@pytest.mark.filterwarnings("ignore:cost .* is negative")
def test_how_costs_are_named(costs, names, paid):
    env = GymnasiumEnv(Tap, 1, objectives=("up", "low"), costs=costs)
    assert env.spec.costs == names
    assert env.step(torch.tensor([1])).cost.tolist() == [paid]


@pytest.mark.parametrize(
    ("costs", "complaint"),
    [
        (("leek",), r"Tap reports no cost 'leek' in its first step, only leak, other, down; .*objective \(up, down\)"),
        (("down",), r"'down' is an objective and in the info of Tap; write reward\[1\] or info\[down\]"),
        (("reward[2]",), r"reward\[2\] is no part of Tap's reward; expected reward\[0\] to \[1\]"),
        (("reward[-1]",), r"reward\[-1\] is no part of Tap's reward"),
        (("up", "reward[1]"), r"every objective of Tap became a cost \(up, down\); leave one to maximise"),
        (("leak", "leak"), r"two channels of Tap would be called 'leak'; write other_name="),
        (("up=leak",), r"two channels of Tap would be called 'up'"),
        (("-x=leak",), r"Tap reports no cost 'x=leak'"),
        (("other",), r"the step's other is 'x'; expected a number or several"),
        ((3,), r"3 is no cost; give a text or a function"),
        (("",), r"'' is no cost; write a key of the info, reward\[index\], or -objective"),
        (("no.such.module:cost",), r"no.such.module:cost: No module named 'no'; is its folder on PYTHONPATH"),
        ((f"{__name__}:nothing",), r"has no 'nothing'"),
    ],
)
def test_costs_that_cannot_be_found(costs, complaint):
    with pytest.raises(TradeoffError, match=complaint):
        GymnasiumEnv(Tap, 1, objectives=("up", "down"), costs=costs)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("told", "costs", "kind", "complaint"),
    [
        ({"leak": None}, ("leak",), TradeoffError, "a step reports no cost 'leak', and the first one did"),
        ({"leak": [1, 2]}, ("leak",), TradeoffError, "the step's leak holds 2 numbers; it held 1 in the first step"),
        ({"leak": "wet"}, ("leak",), TradeoffError, "the step's leak is 'wet'; expected a number"),
        ({"leak": float("nan")}, ("leak",), NumericalTrouble, "cost 'leak' of tap is nan after action 1; repair"),
        ({"leak": float("inf")}, ("l=leak",), NumericalTrouble, "cost 'l' of tap is inf after action"),
        ({}, (spilt_wrongly,), TradeoffError, "the step's spilt_wrongly holds 2 numbers; it held 1 in the first"),
    ],
)
def test_a_cost_that_goes_wrong_amid_an_episode(workers, told, costs, kind, complaint):
    """The first three steps are fine, the fourth is not; its message comes whole from a worker, without a traceback."""

    class Broken(Tap):
        pass

    Broken.told = told
    env = GymnasiumEnv(Broken, 2, workers=workers, costs=costs, id="tap")
    for _ in range(3):
        assert env.step(torch.ones(2, dtype=torch.int64)).cost.shape == (2, 1)
    with pytest.raises(kind, match=complaint) as error:
        env.step(torch.ones(2, dtype=torch.int64))
    assert "Traceback" not in str(error.value) and type(error.value) is kind
    env.close()


def test_a_negative_cost_is_said_once():
    env = GymnasiumEnv(Tap, 1, objectives=("up", "down"), costs=("reward[1]",), id="tap")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        paid = [env.step(torch.tensor([a])).cost.item() for a in (0, 1, 2)]
    assert paid == [0, -2, -4]
    assert [str(x.message).split(";")[0] for x in said] == [
        "cost 'down' of tap is negative in some steps, and a cost is kept low: where it is a penalty, turn its sign by "
        "a minus before its source"
    ]


def test_steps_of_another_length_are_refused():
    class Old(Tap):
        def step(self, action):
            return self.seen, 1.0, False, {}

    with pytest.raises(TradeoffError, match="a step returned 4 values; expected observation, reward, terminated"):
        GymnasiumEnv(Old, 1)


def test_an_environment_is_found_by_module_and_name():
    env = GymnasiumEnv(f"{__name__}:Tap", 2, costs=("leak",), max_episode_steps=3)
    assert env.spec.id == f"{__name__}:Tap" and env.step(torch.tensor([1, 2])).cost.tolist() == [[0.5], [1.0]]
    assert [env.step(torch.tensor([1, 2])).truncated.tolist() for _ in range(2)] == [[False] * 2, [True] * 2]
    for id, complaint in (
        ("no_such_module:Tap", "no_such_module:Tap: No module named 'no_such_module'"),
        (f"{__name__}:Top", "does not start here: .*Top.* doesn't exist"),
    ):
        with pytest.raises(TradeoffError, match=complaint):
            GymnasiumEnv(id, 1)


def test_costs_are_named_by_make_or_in_an_id():
    """The batched mountain car has these objectives; to name costs steps the original, by either spelling."""
    one = make("mo-mountaincar-v0", 2, seed=1, costs=("-reverse", "-forward"))
    other = make("mo-mountaincar-v0?cost=-reverse&cost=-forward", 2, seed=1)
    assert one.spec.id == "mo-mountaincar-v0" and other.spec.id == "mo-mountaincar-v0?cost=-reverse&cost=-forward"
    assert one.spec.costs == other.spec.costs == ("reverse", "forward") and one.spec.backend == "gymnasium-sync"
    plain = make("mo-mountaincar-v0", 2, seed=1, backend="gymnasium-sync")
    for action in ([0, 2], [1, 0], [2, 2]):
        steps = [env.step(torch.tensor(action)) for env in (one, other, plain)]
        assert torch.equal(steps[0].cost, -steps[2].reward[:, 1:]) and torch.equal(steps[1].cost, steps[0].cost)
        assert steps[0].reward.tolist() == [[-1], [-1]]


def test_costs_of_a_registered_environment_may_be_others():
    register_gymnasium("tap-v0", Tap, objectives=("up", "low"), costs=("leak",), limits=(3,))
    try:
        assert make("tap-v0").spec.costs == ("leak",) and make("tap-v0").spec.limits == (3,)
        env = make("tap-v0?cost=-low", limits=(5,))
        assert env.step(torch.tensor([2])).cost.tolist() == [[4]] and env.spec.limits == (5,)
    finally:
        registry._own.pop("tap-v0")
