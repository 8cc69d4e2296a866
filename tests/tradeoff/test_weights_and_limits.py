"""What is maximised within limits: objectives that carry none, or what the weights say; and limits without effect."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tradeoff.conftest import Refuses
from tradeoff import Trained, recommended
from tradeoff.cli import main
from tradeoff.envs import finite_arrays, make, make_tabular
from tradeoff.registry import METHODS
from tradeoff.safe.constraints import BadLimit, Constraint
from tradeoff.safe.known_ranges import limits_that_steer_nothing
from tradeoff.safe.methods import read_limit
from tradeoff.settings import FILE, Settings, read_settings, write_settings

SEA = make("deep-sea-treasure-v0").spec
CART = make("minecart-deterministic-v0").spec
CONSTRAINED = [name for name, kind in METHODS.items() if hasattr(kind, "shares")]
SHORT = ("--steps", "300", "--episodes", "1", "--final-episodes", "2", "--quiet")


@pytest.mark.parametrize(
    ("spec", "limit", "weights", "shares"),
    [
        (SEA, ("time>=-6",), (), [1.0, 0.0]),
        (SEA, ("treasure>=3",), (), [0.0, 1.0]),
        (SEA, ("treasure>=3", "time>=-6"), (), [0.5, 0.5]),  # all are limited: all count
        (SEA, ("time>=-6",), (3.0, 1.0), [3.0, 1.0]),
        (SEA, ("time>=-6",), (1.0,), [0.5, 0.5]),  # one number: of their mean
        (CART, ("fuel>=-1",), (), [0.5, 0.5, 0.0]),
    ],
)
def test_unlimited_objectives_are_maximised_unless_weights_say_otherwise(
    spec: Any, limit: tuple[str, ...], weights: tuple[float, ...], shares: list[float]
) -> None:
    config = recommended("reload", spec.id, limit=limit, weights=weights)
    assert config.shares(spec).tolist() == shares
    returns = torch.arange(2.0 * len(shares)).reshape(2, -1)
    assert config.value(returns, spec).tolist() == (returns @ torch.tensor(shares)).tolist()


@pytest.mark.parametrize("method", CONSTRAINED)
def test_every_constrained_method_takes_weights(method: str) -> None:
    """The learner of each gives the objectives the weights that were asked for."""
    budget = method in ("saute", "simmer", "early-termination")
    env = "safe-minecart-v0" if budget else "minecart-deterministic-v0"
    limit = {"conditioned-lagrangian": "fuel>=-20..-1"}.get(method, "fuel>=-20")
    config = recommended(method, env, limit=() if budget else (limit,), weights=(2.0, 0.5, 0.0)[: 2 if budget else 3])
    scalarizer = config.start().learner.scalarizer
    while hasattr(scalarizer, "inner") or hasattr(scalarizer, "base"):
        scalarizer = getattr(scalarizer, "inner", None) or scalarizer.base
    assert scalarizer.constant[0, :2].tolist() == [2.0, 0.5]


def test_summary_and_indicators_name_what_was_maximised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("train", "lagrangian", "--env", "deep-sea-treasure-v0", "--limit", "time>=-6", *SHORT[:-1])
    assert main([*words, "--weights", "2", "0.5", "--out", str(tmp_path / "run")]) == 0
    assert "  maximised          2 treasure + 0.5 time\n" in capsys.readouterr().out
    found = Trained.load(tmp_path / "run")
    mean = found.returns.mean(1)[0]
    assert found.indicators["value"][0] == pytest.approx(2 * mean[0] + 0.5 * mean[1])
    best = found.indicators["exact"]
    assert best["value"] == pytest.approx(2 * best["returns"][0] + 0.5 * best["returns"][1])


@pytest.mark.parametrize(
    "weights", [("0", "0"), ("-1", "2"), ("nan", "1"), ("1e-320", "0"), ("1", "2", "3"), ("inf", "1")]
)
def test_weights_that_say_nothing_are_refused(weights: tuple[str, ...], refuses: Refuses, tmp_path: Path) -> None:
    words = ("train", "lagrangian", "--env", "deep-sea-treasure-v0", "--limit", "time>=-6", *SHORT)
    said = refuses(*words, "--weights", *weights, "--out", tmp_path / "run")
    assert "weights" in said and not (tmp_path / "run").exists()


def test_a_run_of_an_older_release_keeps_its_mean_of_all_objectives(tmp_path: Path) -> None:
    config = recommended("reload", "deep-sea-treasure-v0", limit=("time>=-6",))
    write_settings(tmp_path, Settings(config, 1))
    record = json.loads((tmp_path / FILE).read_text())
    assert record["settings"].pop("weights") == []
    older = {name: record[name] for name in ("method", "threads", "settings")}
    (tmp_path / FILE).write_text(json.dumps({"version": 1, **older}))
    found = read_settings(tmp_path).config
    assert asdict(found) == asdict(replace(config, weights=(1.0,))) and found.shares(SEA).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(("text", "sense"), [("time=-6", ">="), ("time<=-6", "<="), ("time>=-6", ">=")])
def test_a_bare_number_bounds_a_reward_from_below(text: str, sense: str) -> None:
    assert read_limit(text, SEA, "episodic") == Constraint(cost="time", limit=-6.0, sense=sense)  # type: ignore[arg-type]
    cost = make("safe-deep-sea-treasure-v0").spec
    assert read_limit("time=6", cost, "episodic") == Constraint(cost="time", limit=6.0)


def _tolls(horizon: int) -> Any:
    """One state: go for 1 and a toll of 2, or stay for nothing. Sums of a toll lie between 0 and 2 x horizon."""
    move, paid = torch.ones(1, 2, 1).double().numpy(), torch.tensor([[[0.0], [1.0]]]).double().numpy()
    model = finite_arrays(move, paid, cost=2 * paid, horizon=horizon)
    return make_tabular(model, 1, id="toll-road", objectives=["way"], costs=["toll"])


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        (Constraint(cost="toll", limit=6.0), ["no policy of toll-road breaks toll <= 6: toll lies between 0 and 6"]),
        (Constraint(cost="toll", limit=5.9), []),
        (Constraint(cost="toll", limit=0.0, sense=">="), ["no policy of toll-road breaks toll >= 0"]),
        (Constraint(cost="way", limit=3.0), ["`way>=number` bounds a reward from below"]),
        (Constraint(cost="way", limit=3.0, scale="average"), []),  # a mean per step has another range
    ],
)
def test_a_limit_that_no_policy_can_break_is_said(limit: Constraint, says: list[str]) -> None:
    found = limits_that_steer_nothing(_tolls(3), [limit], 1.0)
    assert len(found) == len(says) and all(part in said for part, said in zip(says, found, strict=True))


def test_a_limit_that_no_policy_can_keep_is_refused() -> None:
    with pytest.raises(BadLimit, match=r"no policy of toll-road keeps toll <= -1: toll lies between 0 and 6"):
        limits_that_steer_nothing(_tolls(3), [Constraint(cost="toll", limit=-1.0)], 1.0)
    with pytest.raises(BadLimit, match=r"keeps way >= 3.5: way lies between 0 and 3 in every episode"):
        limits_that_steer_nothing(_tolls(3), [Constraint(cost="way", limit=3.5, sense=">=")], 1.0)


def test_a_limit_on_the_wrong_side_is_said_before_training(tmp_path: Path, refuses: Refuses) -> None:
    """Time lies in [-100, -1]: at most 6 is no limit; at least 6 cannot be; nor can a cost below 0."""
    words = ("train", "lagrangian", *SHORT, "--out", str(tmp_path / "run"))
    assert "most that any policy reaches is -1" in refuses(*words, "--env", "deep-sea-treasure-v0", "--limit", "time=6")
    assert "hazards lies between 0 and" in refuses(*words, "--env", "SafetyPointGoal1-v0", "--limit", "-2")
    config = recommended("lagrangian", "deep-sea-treasure-v0", limit=("time<=6",))
    with pytest.warns(UserWarning, match=r"breaks time <= 6: time lies between -100 and -1 .*; `time>=number` bounds"):
        config.start()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        replace(config, limit=("time>=-6",)).start()


@pytest.mark.parametrize(
    ("method", "words", "says"),
    [
        ("cpo", ("--clip", "0.3"), "clip 0.3 has no effect: cpo does not read it; leave it out"),
        ("pcpo", ("--entropy", "0.1"), "entropy 0.1 has no effect: pcpo does not read it"),
        ("p3o", ("--divergence", "1"), "divergence 1.0 has no effect: p3o does not read it"),
        ("focops", ("--clip", "0.3"), "clip 0.3 has no effect: focops does not read it"),
        ("cvpo", ("--temperature", "2"), "temperature 2.0 has no effect: cvpo does not read it"),
        (
            "reload",
            ("--step", "score", "--clip", "0.3"),
            "clip 0.3 has no effect: reload with step 'score'",
        ),
        (
            "reload",
            ("--radius", "0.3"),
            "radius 0.3 has no effect: step 'ppo' has no trust region; take step",
        ),
        ("focops", ("--strength", "2"), "strength 2.0 has no effect: rule 'pid' does not read it"),
    ],
)
def test_an_option_without_effect_is_refused(
    method: str, words: tuple[str, ...], says: str, refuses: Refuses, tmp_path: Path
) -> None:
    given = ("train", method, "--env", "deep-sea-treasure-v0", "--limit", "time>=-6", *SHORT)
    assert says in refuses(*given, *words, "--out", tmp_path / "run") and not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", ["cpo", "pcpo", "p3o", "focops", "cvpo"])
def test_what_is_called_without_effect_has_none(method: str) -> None:
    """Two iterations end at the same parameters, whatever those settings are."""
    config = recommended(method, "deep-sea-treasure-v0", limit=("time>=-6",), horizon=30)
    small: dict[str, Any] = {"rollout_steps": 16, "environments": 4, "hidden": (8,)}
    small |= {"warmup": 64, "batch": 8, "capacity": 200} if method == "cvpo" else {"minibatches": 2, "epochs": 6}
    config = replace(config, learner=replace(config.learner, **small))
    found = []
    for factor in (1.0, 0.3):
        run = config.start()
        for name in config.solver.unread:
            now = getattr(run.learner.config, name)
            object.__setattr__(run.learner.config, name, factor * now if now else 1 - factor)
        for _ in range(3):
            run.learner.iterate(1.0)
        found.append(run.learner.population.theta)
    assert torch.equal(*found)
