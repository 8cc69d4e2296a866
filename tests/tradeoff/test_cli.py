"""The command line: quick help, options generated from the configs, defaults by environment, tables."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from dataclasses import fields
from pathlib import Path

import pytest

import tradeoff
from tests.tradeoff.conftest import Refuses, leaves
from tradeoff import method_table, registry, words
from tradeoff.cli import COMMANDS, main, short_warnings
from tradeoff.engine.learner import LearnerConfig
from tradeoff.morl import CMORL, METHODS, WeightedSumFront, recommended
from tradeoff.options import Train, training, wanted
from tradeoff.settings import Settings, build, read_settings, write_settings


def python(code: str) -> str:
    house = Path(__file__).parents[2]
    return subprocess.run([sys.executable, "-c", code], cwd=house, capture_output=True, text=True, check=True).stdout


def test_help_teaches_without_loading_torch() -> None:
    out = python(
        "import sys, tradeoff; from tradeoff.cli import main; code = main(['--help']); "
        "print(code, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    assert out.endswith("0 False False\n")
    assert [out.count(f"\n  {command}") for command in COMMANDS] == [1] * len(COMMANDS)
    assert "tradeoff train c-morl --env deep-sea-treasure-v0 --steps 200000 --seed 0 --out runs/dst" in out


def test_python_names_are_loaded_when_used() -> None:
    from tradeoff import run

    assert (tradeoff.CMORL, tradeoff.Front, tradeoff.train) == (tradeoff.morl.CMORL, tradeoff.morl.Front, run.train)
    assert (tradeoff.make, tradeoff.recommended) == (tradeoff.envs.make, registry.recommended)
    assert sorted(tradeoff.HOMES) == tradeoff.__all__ and all(getattr(tradeoff, name) for name in tradeoff.HOMES)
    with pytest.raises(AttributeError, match="nonsense"):
        tradeoff.nonsense  # noqa: B018


@pytest.mark.parametrize("method", METHODS)
def test_every_field_is_an_option_explained_by_its_comment(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", method, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    names = [f.name for kind in (METHODS[method], LearnerConfig) for f in fields(kind) if f.name != "learner"]
    missing = [name for name in names if f" --{name.replace('_', '-')}" not in text]
    assert missing == [] and len(names) > 20
    assert "half-width of the trusted interval of probability ratios" in text


@pytest.mark.parametrize("env", ["deep-sea-treasure-v0", "minecart-v0"])
def test_defaults_are_those_recommended_for_the_environment(env: str) -> None:
    assert training(["c-morl", "--env", env]).method == recommended("c-morl", env)
    changed = training(["weighted-sum", f"--env={env}", "--rollout-steps", "48", "--clip", "0.25"]).method
    plain = recommended("weighted-sum", env)
    assert isinstance(changed, WeightedSumFront)
    assert (changed.learner.rollout_steps, changed.learner.clip) == (48, 0.25)
    assert changed.learner.learning_rate == plain.learner.learning_rate


@pytest.mark.parametrize("method", registry.METHODS)
def test_recommended_in_python_is_what_the_command_line_uses(method: str) -> None:
    """On an environment whose presets change rollouts, networks, margins and bounds."""
    env = "SafetyPointGoal1-v0" if hasattr(registry.METHODS[method], "constraints") else "deep-sea-treasure-v0"
    assert training([method, "--env", env, "--seed", "3"]).method == tradeoff.recommended(method, env, seed=3)


def test_the_two_presets_differ_so_that_the_test_above_can_fail() -> None:
    rates = [recommended("c-morl", env).learner.learning_rate for env in ("deep-sea-treasure-v0", "minecart-v0")]
    assert rates[0] != rates[1]


def test_options_of_every_kind() -> None:
    words = (
        "c-morl --steps 77 --reference-point -1 -20.5 --hidden 8 4 --anneal --horizon 30 --keep-share 0.5 --threads 2"
    )
    given = training(words.split())
    config = given.method
    assert (given.threads, config.steps, config.horizon, config.keep_share) == (2, 77, 30, 0.5)
    assert (config.reference_point, config.learner.hidden, config.learner.anneal) == ((-1.0, -20.5), (8, 4), True)


@pytest.mark.parametrize(
    ("words", "env"),
    [([], None), (["--env"], None), (["--seed", "1", "--env", "x"], "x"), (["--env=y", "--seed", "1"], "y")],
)
def test_the_environment_is_found_first(words: list[str], env: str | None) -> None:
    assert wanted(words, "--env") == env


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        ("", 1000.0),
        ("--scale discounted --discount 0.99", (1 - 0.99**1000) / 0.01),
        ("--scale=discounted --discount=0.5", 20.0),  # two steps: gains meant for twenty are not raised
        ("--scale average", 20.0),
    ],
)
def test_gains_fit_the_scale_that_is_given(words: str, steps: float) -> None:
    """A rate of 0.05 is meant for sums of 20 steps; longer ones take a smaller one in proportion."""
    config = training(f"lagrangian --env SafetyWalker2dVelocity-v1 --limit 25 {words}".split()).method
    assert config.solver.rate == pytest.approx(0.05 * 20 / steps)


@pytest.mark.parametrize("words", ["--scale x", "--discount y", "--discount 7"])
def test_a_scale_that_is_none_is_refused_in_a_line(words: str, refuses: Refuses) -> None:
    option, given = words.split()
    said = refuses("train", "lagrangian", "--env", "SafetyWalker2dVelocity-v1", "--limit", "25", option, given)
    assert given in said and option.removeprefix("--") in said


def test_settings_survive_the_disk(tmp_path: Path) -> None:
    learner = LearnerConfig(hidden=(7, 5), learning_rate=1e-3, anneal=True)
    config = CMORL(env="x", steps=5, discount=1, reference_point=(-1.5, 2.0), horizon=9, learner=learner)
    write_settings(tmp_path, Settings(config, 3))
    found = read_settings(tmp_path)
    assert found == Settings(config, 3) and found.config.learner.hidden == (7, 5)


def test_a_whole_number_may_stand_for_a_float_but_a_truth_value_for_neither() -> None:
    record = json.loads(json.dumps({f.name: getattr(LearnerConfig(), f.name) for f in fields(LearnerConfig)}))
    assert build(LearnerConfig, record | {"max_norm": 2}, "x").max_norm == 2.0
    with pytest.raises(ValueError, match=r"x\.epochs is True, expected int"):
        build(LearnerConfig, record | {"epochs": True}, "x")


def test_a_warning_is_one_line_and_gymnasiums_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with short_warnings():
            warnings.warn_explicit("precision lowered", UserWarning, "box.py", 364, module="gymnasium.spaces.box")
            shown = warnings.formatwarning("going on", UserWarning, "code.py", 7)
    assert (shown, capsys.readouterr().err.count("precision")) == ("tradeoff: going on\n", 0)
    assert warnings.formatwarning("going on", UserWarning, "code.py", 7).count("code.py:7") == 1


def test_envs_lists_objectives_reference_and_known_front(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["envs", "treasure", "--json"]) == 0
    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)}
    kinds = ("", "-concave", "-mirrored")
    assert {*rows} == {f"{safe}deep-sea-treasure{kind}-v0" for safe in ("", "safe-") for kind in kinds}
    row = rows["deep-sea-treasure-v0"]
    assert row["objectives"] == ["treasure", "time"] and row["reference_point"] == [0.0, -25.0]
    assert (row["known_front"], row["discount"], row["backend"]) == ("exact", 0.99, "torch")
    assert main(["envs", "minecart"]) == 0
    assert capsys.readouterr().out.count("published") == 2


def test_envs_says_why_one_does_not_start(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)
    assert main(["envs", "mo-hopper-v5"]) == 0
    assert capsys.readouterr().out.count("pip install 'tradeoff-rl[mujoco]'") == 1


def test_table_of_methods_is_up_to_date() -> None:
    assert method_table.rows() == method_table.true_rows(), "write it anew: python -m tradeoff.method_table"


def test_names_of_other_libraries_lead_to_options_that_exist_and_hide_none() -> None:
    ours = {f"--{name.replace('_', '-')}" for kind in registry.METHODS for name in leaves(registry.METHODS[kind]())}
    ours |= {f"--{f.name}" for f in fields(Train)}
    named = {word for text in words.ELSEWHERE.values() for word in text.split() if word.startswith("--")}
    assert named - ours == set() and ours & words.ELSEWHERE.keys() == set()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["train", "c-morl", "--lr", "3"], "--lr is called --learning-rate here"),
        (["train", "reload", "--num_envs=4"], "--num_envs is called --environments here"),
        (["train", "ppo", "--total-timesteps", "9"], "is called --steps here"),
        (["train", "cal", "--batch-size", "9"], "--batch (from replay"),
        (["train", "c-mrl"], "did you mean c-morl"),
        (["trian"], "did you mean train"),
        (["resume", "nowhere"], "is not a run folder"),
        (["evaluate", "runs", "--episodes"], "Expected"),
    ],
)
def test_refused_words_are_answered_at_once_without_torch(given: list[str], says: str) -> None:
    out = python(
        "import sys; sys.stderr = sys.stdout; from tradeoff.cli import main; "
        f"print(main({given!r}), 'torch' in sys.modules, 'gymnasium' in sys.modules)"
    )
    assert says in out and out.endswith("2 False False\n"), out


@pytest.mark.parametrize("given", [["methods"], ["train", "--help"], ["envs", "--help"], ["safety", "--help"]])
def test_help_and_methods_come_without_torch(given: list[str]) -> None:
    code = f"import sys; from tradeoff.cli import main; print(main({given!r}), 'torch' in sys.modules)"
    assert python(code).endswith("0 False\n")


def test_methods_names_every_method_and_the_pages_know_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    out = capsys.readouterr().out
    assert [out.count(f"│ {name} ") for name in registry.METHODS] == [1] * len(registry.METHODS)
    pages = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()
    assert [pages.count(f"| `{name}` |") for name in registry.METHODS] == [1] * len(registry.METHODS)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_complaint_is_one_plain_line_whatever_the_terminal_can_show(
    encoding: str, monkeypatch: pytest.MonkeyPatch, refuses: Refuses
) -> None:
    monkeypatch.setattr("tyro._fmtlib._should_use_utf8_drawing_chars", lambda: encoding == "utf-8")
    said = refuses("train", "lagrangian", "--rate", "nan")
    assert (
        said
        == "tradeoff: rate must be a finite number, got nan; `tradeoff train lagrangian --help` lists the options\n"
    )
    said = refuses("train", "lagrangian", "--learning-rat", "3")
    assert said.startswith(
        "tradeoff: Unrecognized options: --learning-rat, 3; perhaps --learning-rate?; `tradeoff train"
    )
