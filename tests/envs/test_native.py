"""Policies speak the spaces of their environment, whatever these are, in training, in files and when they act."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import mo_gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from tradeoff import recommended
from tradeoff.engine import ActorCritic, fresh_population, make_features, make_head
from tradeoff.engine.policy import Policy, model_from_state, model_state, speaking
from tradeoff.engine.run import RunConfig
from tradeoff.envs import EnvSpec, TradeoffError, make, register_gymnasium
from tradeoff.envs.gymnasium_adapter import GymnasiumEnv
from tradeoff.envs.native import NativeSpaces, flat_space, native_spaces

Space = spaces.Space[Any]
SEEN: dict[str, Space] = {
    "discrete": spaces.Discrete(3),
    "discrete from 1": spaces.Discrete(3, start=1),
    "several choices": spaces.MultiDiscrete([2, 3], start=[1, 4]),
    "choices in rows": spaces.MultiDiscrete([[2, 3], [4, 5]], start=[[0, 1], [2, -3]]),
    "flags": spaces.MultiBinary(3),
    "flags in rows": spaces.MultiBinary([2, 3]),
    "numbers": spaces.Box(-1, 1, (3,)),
    "a number": spaces.Box(-np.inf, np.inf, (), np.float64),
    "half precision": spaces.Box(-1, 1, (2, 2), np.float16),
    "small whole numbers": spaces.Box(-5, 7, (2, 2), np.int16),
    "large whole numbers": spaces.Box(0, 10**6, (2,), np.uint32),
    "image": spaces.Box(0, 255, (6, 5, 3), np.uint8),
    "dictionary": spaces.Dict(
        {"place": spaces.Box(0, 9, (2,), np.float64), "lit": spaces.Discrete(2, start=5), "on": spaces.MultiBinary(2)}
    ),
    "tuple": spaces.Tuple([spaces.Box(-1, 1, (2, 1)), spaces.MultiDiscrete([2, 3], start=[1, 4])]),
    "nested": spaces.Dict(
        {
            "camera": spaces.Box(0, 255, (3, 3), np.uint8),
            "rest": spaces.Tuple([spaces.Discrete(4), spaces.Dict({"speed": spaces.Box(-1, 1, (), np.float32)})]),
        }
    ),
}
ACTED: dict[str, Space] = {
    "discrete": spaces.Discrete(3),
    "discrete from 1": spaces.Discrete(3, start=1),
    "discrete from -2 in 32 bits": spaces.Discrete(3, start=-2, dtype=np.int32),
    "several choices": spaces.MultiDiscrete([2, 3], start=[1, 4]),
    "choices in rows": spaces.MultiDiscrete([[2, 3], [4, 5]], start=[[0, 1], [2, -3]]),
    "flags": spaces.MultiBinary(3),
    "flags in rows": spaces.MultiBinary([2, 3]),
    "numbers": spaces.Box(-1, 1, (2,)),
    "bounds between single precisions": spaces.Box(0.1, 0.3, (4, 1), np.float64),
    "half precision": spaces.Box(-1, 3, (2, 2), np.float16),
    "a number": spaces.Box(-2, 2, (), np.float32),
    "whole numbers": spaces.Box(0, 255, (2,), np.uint8),
    "whole numbers without bounds": spaces.Box(-(2**31), 2**31 - 1, (2,), np.int32),
    "bounded on one side": spaces.Box(0, np.inf, (2,), np.float64),
}


class Parrot(gym.Env[Any, Any]):
    """Shows random elements of one space, takes only elements of the other, and ends after 5 steps."""

    def __init__(self, seen: Space, acted: Space) -> None:
        both = NativeSpaces.from_state(
            NativeSpaces(seen, acted).state_dict()
        )  # spaces of its own, with their own seeds
        self.observation_space, self.action_space = both.observation, both.action

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.clock = 0
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, ...]:
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        self.clock += 1
        paid = [float(np.sum(action)) / 100, -float(self.clock)]
        return self.observation_space.sample(), paid, False, self.clock == 5, {"cost": 1.0}


def stacked(space: Space, several: list[Any]) -> Any:
    """Elements of a space as one, every array with their number in front."""
    if isinstance(space, spaces.Dict):
        return {key: stacked(child, [x[key] for x in several]) for key, child in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(stacked(child, [x[i] for x in several]) for i, child in enumerate(space.spaces))
    return np.stack(several)


def config_for(method: str, env: str) -> RunConfig:
    reference = 32 * 5 if method == "weighted-sum" else 0  # steps of the episodes that a reference point is made of
    config = recommended(method, env, steps=reference + 40, seed=1)
    learner = replace(config.learner, environments=2, rollout_steps=5, epochs=1, minibatches=1, hidden=(4,))
    return replace(config, learner=learner, policies=2, evaluate_every=2, episodes=1, final_episodes=2)


def speaks(policy: Any, seen: Space, acted: Space) -> None:
    """A policy answers elements of the action space, the same ones for one observation as for several."""
    seen.seed(3)
    several = [seen.sample() for _ in range(4)]
    actions = policy(stacked(seen, several))
    assert len(actions) == 4
    for observation, action in zip(several, actions, strict=True):
        alone = policy(observation)
        assert acted.contains(alone) and np.asarray(alone).dtype == acted.dtype
        np.testing.assert_allclose(np.asarray(alone, float), np.asarray(action, float), rtol=1e-3, atol=1e-3)
        assert acted.contains(policy(observation, deterministic=False))


PAIRS = [*((name, "numbers") for name in SEEN), *(("numbers", name) for name in ACTED if name != "numbers")]


@pytest.mark.parametrize(("seen", "acted"), PAIRS)
def test_training_evaluation_files_and_policies_speak_the_spaces(seen: str, acted: str, tmp_path: Path) -> None:
    shows, takes = SEEN[seen], ACTED[acted]
    register_gymnasium("parrot", lambda: Parrot(shows, takes), objectives=("sum", "time"))
    found = config_for("weighted-sum" if seen == "nested" else "ppo", "parrot").run()
    found.save(tmp_path)
    again = type(found).load(tmp_path)
    native = again.model.native
    assert (native.observation, native.action) == (shows, takes)
    for result in (found, again):
        speaks(result.policy(0), shows, takes)
    shows.seed(0)
    one = shows.sample()
    assert np.array_equal(found.policy(0)(one), again.policy(0)(one)), "the same bits from the file"


def test_a_front_of_bottles_acts_on_the_originals_dictionary() -> None:
    """What the six numbers of our tensors say, the original's dictionary says; where it counts bottles, we say some."""
    env = make("breakable-bottles-v0")
    model = speaking(build(env.spec), env.spec)
    assert model_from_state(model_state(model)).native == model.native
    original = mo_gymnasium.make("breakable-bottles-v0", prob_drop=0.5)
    seen, _ = original.reset(seed=0)
    draw, counted = np.random.default_rng(0), 0
    for _ in range(300):
        rows, single = native_spaces(env.spec).rows(seen)
        flags = [int(n > 0) for n in seen["bottles_dropped"]]
        want = [seen["location"], seen["bottles_carrying"], seen["bottles_delivered"], *flags]
        assert single and rows.tolist() == [want] and policy_of(model)(seen) == policy_of(model)(np.array(want))
        counted = max(counted, *seen["bottles_dropped"])
        seen, _, terminated, _, _ = original.step(draw.choice(3))
        seen = original.reset()[0] if terminated else seen
    assert counted > 1


def build(spec: EnvSpec) -> ActorCritic:
    return ActorCritic(make_features(spec.observation_space), make_head(spec.action_space), 1, (4,))


def policy_of(model: ActorCritic) -> Policy:
    return Policy(model=model, population=fresh_population(model, 1, torch.Generator().manual_seed(0)))


def test_files_from_before_spaces_were_saved_give_policies_of_flat_numbers() -> None:
    """Discrete(3, start=1) answered 0 to 2, and observations were flat: so does an old file, and a new one does not."""
    spec = GymnasiumEnv(lambda: Parrot(SEEN["flags in rows"], ACTED["discrete from 1"]), 1).spec
    state = model_state(speaking(build(spec), spec))
    new, old = (model_from_state(kept) for kept in (state, {k: v for k, v in state.items() if k != "native"}))
    rows = np.random.default_rng(0).integers(2, size=(20, 2, 3))
    answers = policy_of(old)(rows.reshape(20, 6))
    assert old.native is None and set(answers.tolist()) <= {0, 1, 2}
    assert (policy_of(new)(rows) == answers + 1).all()


def test_files_of_spaces_hold_plain_values_only() -> None:
    for space in (*SEEN.values(), *ACTED.values()):
        file = io.BytesIO()
        torch.save(NativeSpaces(space, space).state_dict(), file)
        file.seek(0)
        assert NativeSpaces.from_state(torch.load(file, weights_only=True)).observation == space


@pytest.mark.parametrize("name", ["dictionary", "tuple", "nested"])
def test_dictionaries_and_tuples_become_gymnasiums_vectors(name: str) -> None:
    space = SEEN[name]
    space.seed(2)
    for _ in range(20):
        one = space.sample()
        row, _ = NativeSpaces(space, space).rows(one)
        np.testing.assert_array_equal(row[0], spaces.flatten(space, one))
        assert row.dtype == flat_space(space).dtype


@pytest.mark.parametrize(
    ("name", "wrong", "complaint"),
    [
        ("numbers", np.zeros(4), r"observation has shape \(4,\); expected \(3,\)"),
        ("numbers", np.zeros((5, 4)), r"observation has shape \(5, 4\); expected \(3,\), or \('n', 3\) for several"),
        ("discrete from 1", 0, "observation is 0; its space holds whole numbers from 1 to 3"),
        ("flags", [0, 2, 0], r"observation\[1\] is 2; its space holds whole numbers from 0 to 1"),
        (
            "dictionary",
            {"place": [1, 2], "lit": 5},
            r"observation is dict without \['on'\]; expected a dictionary with",
        ),
        ("tuple", [np.zeros((2, 1))], r"observation is list without \[1\]; expected a tuple with \[0, 1\]"),
        ("dictionary", np.zeros(3), r"observation has shape \(3,\); expected \(6,\)"),
    ],
)
def test_what_is_no_observation_is_refused_with_its_value(name: str, wrong: Any, complaint: str) -> None:
    with pytest.raises(TradeoffError, match=complaint):
        NativeSpaces(SEEN[name], SEEN[name]).rows(wrong)


def choices(start: int) -> dict[str, Space]:
    """Spaces of three or of two and four choices, counted from a start."""
    one, several = spaces.Discrete(3, start=start), spaces.MultiDiscrete([2, 4], start=[start, start])
    rows = spaces.MultiDiscrete([[2], [4]], start=[[start], [start]])
    return {
        "discrete": one, "several": several, "rows": rows,
        "dictionary": spaces.Dict({"a": one, "b": several}),
        "tuple": spaces.Tuple([several, spaces.Dict({"c": one, "d": spaces.Box(-1, 1, (1,))})]),
    }  # fmt: skip


@pytest.mark.parametrize("start", [5, -2])
@pytest.mark.parametrize("name", choices(0))
def test_policies_see_and_choose_the_same_wherever_choices_are_counted_from(name: str, start: int) -> None:
    seen = []
    for first in (0, start):
        space, acted = choices(first)[name], choices(first)["several"]
        env = GymnasiumEnv(lambda space=space, acted=acted: Parrot(space, acted), 1, seed=3)
        assert isinstance(env.spec.native, NativeSpaces) and env.spec.native.observation == space
        features = make_features(env.spec.observation_space)
        rows = [env.reset(3), *(env.step(torch.tensor([[1, i]])).observation for i in range(4))]
        space.seed(3)
        taken = native_spaces(env.spec)
        again = torch.as_tensor(taken.rows(space.sample())[0])
        assert torch.equal(features(again), features(rows[0])), "a policy alone sees what it saw in training"
        assert taken.actions(np.array([[1, 2]]), True).tolist() == [first + 1, first + 2]
        seen.append(torch.stack([features(row)[0] for row in rows]))
    assert torch.equal(*seen) and len(seen[0].unique(dim=0)) > 1


def test_tensors_that_count_several_choices_from_elsewhere_are_refused() -> None:
    with pytest.raises(TradeoffError, match=r"tensors count several choices from 0; give MultiDiscrete\(nvec\)"):
        make_features(spaces.MultiDiscrete([2, 3], start=[0, 1]))


def test_a_wrapper_that_shows_more_has_spaces_of_its_own() -> None:
    inside = GymnasiumEnv(lambda: Parrot(SEEN["tuple"], ACTED["discrete from 1"]), 1, costs=("cost",)).spec
    wider = replace(inside, observation_space=spaces.Box(-np.inf, np.inf, (9,)))
    assert native_spaces(inside).observation == SEEN["tuple"]
    assert (native_spaces(wider).observation, native_spaces(wider).action) == (
        wider.observation_space, ACTED["discrete from 1"],
    )  # fmt: skip


@pytest.mark.parametrize("squash", [False, True])
def test_no_action_is_outside_of_bounds_that_single_precision_does_not_have(squash: bool) -> None:
    """0.1 and 0.3 lie between single precisions: 0.3 rounds up. The adapter, too, hands on what is inside."""
    box: Any = ACTED["bounds between single precisions"]
    head = make_head(box, squash)
    found = head.to_env(torch.tensor([[-99.0, -1.0, 1.0, 99.0]])).double().numpy()
    assert (found >= 0.1).all() and (found <= 0.3).all() and np.isclose(found, [[0.1, 0.1, 0.3, 0.3]], atol=0.025).all()


def test_whole_numbers_as_actions_are_rounded_to_the_nearest() -> None:
    env = GymnasiumEnv(lambda: Parrot(SEEN["numbers"], ACTED["whole numbers"]), 1)
    assert env.step(torch.tensor([[1.6, 253.2]])).reward[0, 0].item() == pytest.approx((2 + 253) / 100)
