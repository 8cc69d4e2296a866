"""Numbers that are not finite are stopped where they enter, named by their cause, and reach nothing that is kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tradeoff.engine import Rollout
from tradeoff.engine.guards import check_returns
from tradeoff.engine.normalisers import fresh_moments
from tradeoff.envs.errors import NumericalTrouble, UserCodeFailed

NAN, INF = float("nan"), float("inf")


def clouded(made: Any, faults: dict[tuple[int, int, int], float]) -> Any:
    """The environment, showing other numbers: (call of step, environment, index) -> number."""
    step = made.step

    def seen(action: torch.Tensor) -> Any:
        call, found = made.calls, step(action)
        for (at, environment, index), value in faults.items():
            if at == call:
                found.observation[environment, index] = value
        return found

    made.step = seen
    return made


@pytest.fixture
def rollout(clockwork, model_for, generator):  # type: ignore[no-untyped-def]
    """Two policies in two environments each, five steps a time, and the learner's call."""

    def build(faults: dict[tuple[int, int, int], float]) -> Any:
        env = clouded(clockwork((9, 9, 9, 9)), faults)
        model, source = model_for(env), Rollout(env, 2, 5)
        theta = model.init(2, generator)
        return source, lambda: source.collect(model, theta, fresh_moments(2, 2), generator)

    return build


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_an_observation_that_is_not_finite_is_named_before_anything_that_follows_from_it(rollout, bad) -> None:
    # Call 7 is step 2 of the second rollout: its observation is acted on at step 3, after 5 x 4 + 3 x 4 steps.
    # Environment 3 is environment 1 of policy 1.
    source, collect = rollout({(7, 3, 1): bad})
    collect()
    with pytest.raises(NumericalTrouble) as caught:
        collect()
    said = str(caught.value)
    assert f"observation 1 is {bad} at step 3 of this rollout (environment step 32 of the training)" in said
    assert "policy 1, environment 1 of clockwork" in said and "learning rate" not in said
    assert source.taken == 20, "what is not counted did not happen"


def test_the_observation_that_the_next_rollout_would_begin_with_is_looked_at_too(rollout) -> None:
    source, collect = rollout({(4, 0, 0): INF})
    with pytest.raises(NumericalTrouble, match=r"observation 0 is inf at step 5 of this rollout"):
        collect()
    assert torch.isfinite(source.state_dict()["observation"]).all()


def test_numbers_that_32_bits_cannot_hold_are_as_good_as_infinite(clockwork, model_for, generator) -> None:
    env = clockwork((9, 9))
    env._see = lambda: torch.tensor([[0.0, 0.0], [1e200 if env.calls == 2 else 0.0, 0.0]], dtype=torch.float64)
    source, model = Rollout(env, 2, 5), model_for(env)
    with pytest.raises(NumericalTrouble, match=r"observation 0 is 1e\+200 at step 2"):
        source.collect(model, model.init(2, generator), fresh_moments(2, 2), generator)


def test_a_reset_that_shows_no_numbers_is_told(clockwork) -> None:
    env = clockwork((9, 9))
    env._see = lambda: torch.tensor([[0.0, 0.0], [0.0, NAN]])
    with pytest.raises(NumericalTrouble, match=r"observation 1 is nan after a reset, policy 1, env.* 0 of clockwork"):
        Rollout(env, 2, 5)


def test_what_an_environment_raises_names_environment_and_step(rollout) -> None:
    source, collect = rollout({})

    def step(action: torch.Tensor) -> Any:
        raise KeyError("the gripper")

    collect()
    source.env.step = step
    with pytest.raises(UserCodeFailed, match=r"clockwork failed at step 0 of this rollout \(.*step 20 of") as caught:
        collect()
    assert "KeyError" in str(caught.value) and "test_guards.py" in caught.value.traceback


def test_an_environment_that_chokes_on_its_own_numbers_is_told_about_the_numbers(rollout) -> None:
    source, collect = rollout({(2, 1, 0): NAN})
    step = source.env.step

    def strict(action: torch.Tensor) -> Any:
        if source.env.calls == 3:
            raise ValueError("an action that makes no sense")
        return step(action)

    source.env.step = strict
    with pytest.raises(NumericalTrouble, match="observation 0 is nan at step 3"):
        collect()


def test_returns_beyond_32_bits_are_told() -> None:
    check_returns(torch.tensor([[1.0, NAN]]))  # no episode has ended yet
    with pytest.raises(NumericalTrouble, match=r"returns of policy 1 are too large for 32 bits: \[inf, 2.0\]"):
        check_returns(torch.tensor([[1.0, 2.0], [INF, 2.0]]))
