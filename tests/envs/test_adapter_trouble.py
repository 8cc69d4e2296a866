"""What environments of gymnasium do wrong is said in one line that names environment, step, copy and value."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from tradeoff.envs import TradeoffError, UserCodeFailed, make
from tradeoff.envs.gymnasium_adapter import GymnasiumEnv
from tradeoff.envs.gymnasium_costs import load


class Plain(gym.Env[Any, Any]):
    """Sees its clock, pays the action, never ends."""

    observation_space: spaces.Space[Any] = spaces.Box(0, 9, (2,), np.float64)
    action_space: spaces.Space[Any] = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.clock = 0
        return self.seen(), {}

    def step(self, action: Any) -> Any:
        self.clock += 1
        return self.seen(), float(action), False, False, {}

    def seen(self) -> Any:
        return np.full(2, float(self.clock))


def changed(**parts: Any) -> type[Plain]:
    return type("Changed", (Plain,), parts)


def steps(env: GymnasiumEnv, count: int = 4) -> None:
    for _ in range(count):
        env.step(torch.zeros(env.num_envs, dtype=torch.int64))


def from_second_step(value: Callable[[Plain], Any]) -> Callable[[Any], Any]:
    return lambda self: value(self) if self.clock > 1 else Plain.seen(self)


CELL = {"observation_space": spaces.Box(0, 3, (2,), np.int64)}
LATE: dict[str, tuple[dict[str, Any], str]] = {
    "another shape": (
        {"seen": from_second_step(lambda self: np.zeros(3))},
        r"Changed, in step 2 of copy 0: observation has shape \(3,\); expected \(2,\)",
    ),
    "an axis more": (
        {"seen": from_second_step(lambda self: np.zeros((1, 2)))},
        r"observation has shape \(1, 2\); expected \(2,\)",
    ),
    "no numbers": (
        {"seen": from_second_step(lambda self: "high")},
        "in step 2 of copy 0: observation is 'high'; expected",
    ),
    "a choice too large": (
        {**CELL, "seen": lambda self: np.array([0, min(self.clock * 2, 4)])},
        r"Changed, in step 2 of copy 0: observation\[1\] is 4; its space holds whole numbers from 0 to 3",
    ),
    "a choice below": (
        {"observation_space": spaces.Discrete(3, start=1), "seen": lambda self: 1 - self.clock // 2},
        "in step 2 of copy 0: observation is 0; its space holds whole numbers from 1 to 3",
    ),
    "a fraction of a cell": (
        {**CELL, "seen": lambda self: np.array([0, self.clock / 2])},
        r"in step 1 of copy 0: observation\[1\] is 0.5",
    ),
    "a choice in a dictionary": (
        {
            "observation_space": spaces.Dict({"at": spaces.MultiDiscrete([2, 3]), "on": spaces.Discrete(2)}),
            "seen": lambda self: {"at": [1, self.clock + 1], "on": 0},
        },
        r"in step 2 of copy 0: observation\['at'\]\[1\] is 3; its space holds whole numbers from 0 to 2",
    ),
    "a part less": (
        {
            "observation_space": spaces.Dict({"at": spaces.Discrete(9), "on": spaces.Discrete(2)}),
            "seen": lambda self: {"at": 1, "on": 0} if self.clock < 2 else {"at": 1},
        },
        r"observation is dict without \['on'\]; expected a dictionary with \['at', 'on'\]",
    ),
    "no info": (
        {"step": lambda self, action: (Plain.step(self, action)[0], 0.0, False, False, None if self.clock > 1 else {})},
        "in step 2 of copy 0: a step's info is None; expected a dictionary",
    ),
    "three values": (
        {"step": lambda self, action: Plain.step(self, action)[: 5 if self.clock < 2 else 3]},
        "in step 2 of copy 0: a step returned 3 values",
    ),
}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", LATE)
def test_a_step_unlike_the_first_is_named_with_step_and_copy(kind: str, workers: int) -> None:
    parts, complaint = LATE[kind]
    with pytest.raises(TradeoffError, match=complaint) as raised:
        steps(GymnasiumEnv(changed(**parts), 2, workers=workers))
    assert "\n" not in str(raised.value)


def leave(self: Any, action: Any) -> Any:
    if self.clock == 2:
        sys.exit(3)
    return Plain.step(self, action)


def divide(self: Any, action: Any) -> Any:
    answer = Plain.step(self, action)
    return (*answer[:1], 1.0 / (3 - self.clock), *answer[2:])


def late_cost(before: Any, action: Any, after: Any, info: dict[str, Any]) -> float:
    return {0: 0.0, 1: 0.0}[int(after[0]) // 2]


RAISED: dict[str, tuple[dict[str, Any], dict[str, Any], str, int]] = {
    "a step that exits": ({"step": leave}, {}, "in step 3 of copy 0: called sys.exit: 3", 3),
    "a step that raises": ({"step": divide}, {}, "in step 3 of copy 0: ZeroDivisionError: ", 3),
    "a cost that raises": ({}, {"costs": {"late": late_cost}}, "in step 4 of copy 0: KeyError: 2", 4),
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", RAISED)
def test_what_a_users_code_raises_is_typed_with_its_traceback(kind: str, workers: int) -> None:
    parts, options, said, step = RAISED[kind]
    env = GymnasiumEnv(changed(**parts), 2, workers=workers, **options)
    with pytest.raises(UserCodeFailed) as raised:
        steps(env)
    assert str(raised.value).startswith(f"Changed failed {said}") and "\n" not in str(raised.value)
    assert raised.value.step == step and "line" in raised.value.traceback
    env.close()


def refuse(self: Any, **options: Any) -> Any:
    raise RuntimeError("no display")


FIRST: dict[str, tuple[Any, str]] = {
    "built": (changed(__init__=refuse), "Changed failed when a copy was built: RuntimeError: no display"),
    "reset": (changed(reset=refuse), "Changed failed in its first reset: RuntimeError: no display"),
    "stepped": (changed(step=lambda self, action: {}[action]), "Changed failed in its first step: KeyError"),
    "reset without info": (changed(reset=lambda self, **_: np.zeros(2)), "a reset returned ndarray; expected a tuple"),
    "text": (changed(observation_space=spaces.Text(5)), r"space Text.* is not made of numbers; wrap"),
    "text inside": (
        changed(observation_space=spaces.Dict({"a": spaces.Text(5)})),
        "space Text.* is not made of numbers; wrap",
    ),
    "several at once": (
        lambda: gym.make_vec("CartPole-v1", 2, vectorization_mode="sync"),
        "the environment steps several environments at once; give a function that builds one",
    ),
    "ours": (lambda: make("minecart-v0", 2), "the environment steps several environments at once"),
    "no environment": (lambda: None, "the environment is NoneType without observation_space of gymnasium's kind"),
}


@pytest.mark.parametrize("kind", FIRST)
def test_what_is_no_environment_is_said_at_once(kind: str) -> None:
    with pytest.raises(TradeoffError, match=FIRST[kind][1]):
        GymnasiumEnv(FIRST[kind][0], 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 / 0", "broken_mine:Kiln failed while broken_mine was imported: ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(0)", "broken_mine:Kiln failed while broken_mine was imported: called sys.exit: 0"),
        ("def (", "broken_mine:Kiln failed while broken_mine was imported: SyntaxError: invalid syntax"),
        ("import no_such_thing", "broken_mine:Kiln: No module named 'no_such_thing'"),
    ],
)
def test_a_module_that_cannot_be_imported_is_said_to_be_so(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_mine.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for opened in (make, load):
        with pytest.raises(TradeoffError) as raised:
            opened("broken_mine:Kiln")
        assert str(raised.value).startswith(said)


def test_rewards_and_observations_of_torch_are_taken() -> None:
    def step(self: Plain, action: Any) -> Any:
        return torch.ones(2), torch.tensor([1.0, 2.0], requires_grad=True), False, False, {"cost": torch.tensor(3.0)}

    env = GymnasiumEnv(changed(step=step), 1)
    found = env.step(torch.zeros(1, dtype=torch.int64))
    assert found.reward.tolist() == [[1.0, 2.0]] and found.cost.tolist() == [[3.0]]
    assert found.observation.tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize(
    "space", [spaces.Box(-1, 1, (2,)), spaces.Box(-1, 1, (2,), np.float64), spaces.MultiDiscrete([3, 3])]
)
def test_an_environment_that_writes_into_its_action_leaves_the_callers_alone(space: spaces.Space[Any]) -> None:
    def step(self: Plain, action: Any) -> Any:
        action *= 0
        return self.seen(), 0.0, False, False, {}

    env = GymnasiumEnv(changed(action_space=space, step=step), 2)
    dtype = torch.int64 if isinstance(space, spaces.MultiDiscrete) else torch.from_numpy(space.sample()).dtype
    action = torch.ones(2, 2, dtype=dtype)
    env.step(action)
    assert action.tolist() == [[1, 1], [1, 1]]


def test_a_closed_environment_says_so() -> None:
    env = GymnasiumEnv(Plain, 1)
    env.close()
    for call in (lambda: steps(env), lambda: env.reset(0)):
        with pytest.raises(TradeoffError, match="Plain was closed; make it anew"):
            call()


def test_numbers_far_outside_of_the_declared_space_are_warned_of_once() -> None:
    """Bounds 0 to 9: 2 * 9 is somewhat outside, -9000 a thousand widths."""

    def seen(self: Any) -> Any:
        return np.array([18.0, {2: -9001.0, 3: 1e20}.get(self.clock, -8999.0)])

    said = r"number 1 of the observation of Changed is -9001 in copy 0, far outside of its space, 0 to 9: repair it"
    env = GymnasiumEnv(changed(seen=seen), 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        steps(env)
    assert len(caught) == 1 and str(caught[0].message).startswith(said)


@pytest.mark.parametrize("id", ["breakable-bottles-v0", "fishwood-v0", "mo-hopper-v5", "safe-grid-v0", "CartPole-v1"])
def test_an_unknown_option_is_named_with_those_that_are_taken(id: str) -> None:
    way_out = "leave it out" if id.startswith("safe-") else "backend='gymnasium-sync' steps the original"
    with pytest.raises(TradeoffError, match=f"{id} takes no option 'prob_drop' here, only .*seed.*; {way_out}"):
        make(id, prob_drop=0.5)


def test_options_of_the_originals_constructor_reach_it_or_are_refused() -> None:
    env = make("breakable-bottles-v0", prob_drop=0.5, backend="gymnasium-sync")
    assert env.copies.envs[0].unwrapped.prob_drop == 0.5  # type: ignore[attr-defined]
    with pytest.raises(TradeoffError, match="takes no option 'nonsense': its constructor does not know it"):
        make("breakable-bottles-v0", nonsense=1, backend="gymnasium-sync")


@pytest.mark.parametrize("id", ["minecart-v0", "mo-hopper-v5", "MountainCar-v0"])
def test_a_number_of_copies_that_is_not_whole_is_refused(id: str) -> None:
    with pytest.raises(TradeoffError, match=r"num_envs must be a whole number, got 1\.5"):
        make(id, 1.5)  # type: ignore[arg-type]


def test_packages_that_are_missing_are_named_with_the_way_out() -> None:
    if "highway_env" not in sys.modules:
        with pytest.raises(TradeoffError, match=r"package highway_env, not .* pip install 'tradeoff-rl\[highway\]'"):
            make("mo-highway-v0")
    with pytest.raises(TradeoffError, match="gym-super-mario-bros, which cannot be installed beside numpy 2"):
        make("mo-supermario-v0")


def test_the_minecart_of_pictures_has_the_minecarts_objectives() -> None:
    pytest.importorskip("pygame")
    picture, numbers = (make(id).spec for id in ("minecart-rgb-v0", "minecart-v0"))
    assert (picture.objectives, picture.reference_point, picture.discount) == (
        numbers.objectives, numbers.reference_point, numbers.discount,
    )  # fmt: skip
