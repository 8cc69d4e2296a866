"""The options of every method can be read: no field of a solver clashes with one of the run or of the learner."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from tests.tradeoff.conftest import leaves
from tradeoff.cli import main
from tradeoff.options import training
from tradeoff.registry import METHODS, recommended


@pytest.mark.parametrize("name", METHODS)
def test_every_setting_of_a_method_is_an_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", name, "--help"]) == 0
    plain = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    shown = re.findall(r"(?m)^\W*?(--[a-z][\w-]*)", plain)
    wanted = [f"--{field.replace('_', '-')}" for field in leaves(recommended(name, METHODS[name].env))]
    missing = [option for option in wanted if option not in shown]
    assert len(missing) == 0 and len(set(wanted)) == len(wanted), missing
    assert "real environment steps" in plain and "one seed, one result" in plain, "options say what they are"
    assert not re.search(r"type: ignore|noqa|fmt:", plain), "remarks to other programs are no help"


@pytest.mark.parametrize("name", METHODS)
def test_config_survives_pickle_and_deepcopy(name: str) -> None:
    config = recommended(name, METHODS[name].env, seed=5)
    for twin in (pickle.loads(pickle.dumps(config)), copy.deepcopy(config), copy.copy(config)):
        assert twin == config and type(twin) is METHODS[name] and twin.seed == 5


def test_the_steps_of_a_solver_are_not_those_of_the_run() -> None:
    given = training(["cvpo", "--steps", "700", "--descents", "5"]).method
    assert (given.steps, given.solver.descents) == (700, 5)
