"""Every error of the project comes back whole from another process: a pool that cannot read one breaks."""

from __future__ import annotations

import pickle
from importlib import import_module
from pkgutil import walk_packages

import numpy as np
import pytest

from tradeoff.envs.errors import MissingExtra, NumericalTrouble, TradeoffError, UnknownName, UserCodeFailed
from tradeoff.evaluation import InfeasibleLimits

SAID = "the value 3 is none; expected 4"
EXAMPLES: dict[type[Exception], Exception] = {
    UnknownName: UnknownName("cost", "lava", ["larva", "mud"]),
    MissingExtra: MissingExtra("mo-hopper-v5", "mujoco", "mujoco"),
    InfeasibleLimits: InfeasibleLimits(SAID, np.array([0.5, 2.0])),
    UserCodeFailed: UserCodeFailed("kiln-v0", RuntimeError("too hot"), "in step 17 of copy 2", 17),
}
"""Those that take arguments of their own."""


def _errors() -> list[type[Exception]]:
    """All kinds of error that the packages define."""
    found = {}
    for module in walk_packages(import_module("tradeoff").__path__, "tradeoff."):
        if not module.name.endswith("__main__"):
            for name, kind in vars(import_module(module.name)).items():
                if isinstance(kind, type) and issubclass(kind, Exception) and kind.__module__ == module.name:
                    found[f"{module.name}.{name}"] = kind
    return list(found.values())


@pytest.mark.parametrize("kind", _errors(), ids=lambda kind: kind.__name__)
def test_an_error_says_the_same_in_another_process(kind: type[Exception]) -> None:
    error = EXAMPLES.get(kind) or kind(SAID)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind and str(again) == str(error) and len(str(error)) > 10


def test_what_an_error_carries_comes_along() -> None:
    limits = pickle.loads(pickle.dumps(EXAMPLES[InfeasibleLimits]))
    assert limits.attainable.tolist() == [0.5, 2.0]
    trouble = NumericalTrouble(SAID)
    trouble.step = 7  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(trouble)).step == 7
    assert str(pickle.loads(pickle.dumps(EXAMPLES[UnknownName]))) == "unknown cost 'lava'; did you mean larva?"
    assert issubclass(UnknownName, TradeoffError)


def _raised(error: BaseException) -> UserCodeFailed:
    try:
        raise error
    except BaseException as caught:
        return pickle.loads(pickle.dumps(UserCodeFailed("kiln-v0", caught, "in step 17 of copy 2", 17)))


def test_what_a_user_raised_is_one_line_with_environment_step_and_traceback() -> None:
    error = _raised(RuntimeError("too\nhot"))
    place = "(test_errors.py, line "
    assert str(error).startswith(f"kiln-v0 failed in step 17 of copy 2: RuntimeError: too hot {place}")
    assert str(error).endswith("); repair it and go on")
    assert (error.env, error.step) == ("kiln-v0", 17)
    assert error.traceback.startswith("Traceback") and "raise error" in error.traceback
    assert f"failed in step 17 of copy 2: called sys.exit: 3 {place}" in str(_raised(SystemExit(3)))
    assert (
        f"copy 2: ValueError {place}" in str(_raised(ValueError())) and len(str(_raised(ValueError("x" * 999)))) < 330
    )


def test_the_list_of_those_with_arguments_is_whole() -> None:
    own = {kind for kind in _errors() if "__init__" in vars(kind)}
    assert own == set(EXAMPLES)
