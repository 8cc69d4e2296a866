"""Every option of every method changes what is trained or reported, or its combination is refused in a line.

A tiny run is made with and without a change, and the bytes of the policies are compared; settings of evaluations are
compared by the whole result. Options that act in some circumstances only are tried in those (`NEEDS`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.tradeoff.tiny_methods import Drive
from tradeoff.engine.run import RunConfig
from tradeoff.engine.soft_config import SoftConfig
from tradeoff.engine.unread import as_written
from tradeoff.envs import finite_arrays, make_tabular, register
from tradeoff.options import training
from tradeoff.registry import METHODS

pytestmark = pytest.mark.filterwarnings("ignore")

FAST = ("mo-tsivr-pg", "mo-ppo", "dynamic-weights", "focops", "sac-pid")
"""One of each kind of run; the others are slow."""
OF_RUNS = ("steps", "discount", "evaluate_every", "episodes", "final_episodes", "policies")
"""Settings of the run, not of the method: tried with those of FAST."""
LIKE = {
    **dict.fromkeys(("sac-lagrangian", "sac-augmented", "sac-reload", "cal", "wcsac"), "sac-pid"),
    **dict.fromkeys((f"{rule}-ppo" for rule in ("pcgrad", "cagrad", "nash-mtl", "epo", "dynamic-weights")), "mgda-ppo"),
    **dict.fromkeys(("lagrangian", "pid-lagrangian", "augmented-lagrangian"), "reload"),
    **dict.fromkeys(("simmer", "early-termination"), "saute"),
    "c-morl": "weighted-sum",
}
"""Methods with the learner of another, with which its settings are tried: what differs are weights, or environments."""
SAME: dict[str, str] = {
    "device": "says where numbers are computed, not which",
    "references": "names folders of finished runs; tests/safe/test_novelty_training.py trains with one",
}
LATE = ("steps", "discount", "evaluate_every", "episodes", "final_episodes", "sweep", "capacity", "reference_point",
        "floor", "ceiling", "extension", "select", "extension_iterations", "keep_share", "sharpness", "distance",
        "grace", "references", "policies")  # fmt: skip
"""Options that show in results, or late in a run."""

VALUES: dict[str, Any] = {
    "env": "three", "policies": 3, "steps": 600, "seed": 1, "horizon": 3, "discount": 0.5, "evaluate_every": 1,
    "capacity": 2, "reference_point": (-99.0, -99.0), "extension": 0.2, "select": 2, "extension_iterations": 1,
    "keep_share": 0.3, "sharpness": 2.0, "weights": (1.0, 3.0), "shift": (9.0,), "floor": (50.0,), "ceiling": (0.5,),
    "clip": 1e-4, "max_norm": 1e-3, "calm": 0.5, "spread": 0.5, "step": ("natural", "trust-region"), "baseline": "none",
    "utility": ("linear", "max-min"), "radius": 1e-6, "samples": 5, "backtracks": 0, "iterations": 1, "ray": (1.0, 3.0),
    "reference": (-99.0, -99.0), "balanced": 10.0, "eps_alpha_std": 1e-3, "limit": ("wear<=2.5", "wear<=2..2.5"),
    "scale": "discounted", "margin": 0.99, "tolerance": 99.0, "unit": (False, (1e-3, 1e3)), "bound": 1e-6,
    "rule": "optimistic", "precision": "bfloat16", "strength": 9.0, "kd": 5.0, "delay": 2, "grace": 0, "distance": 1e-6,
    "probability": 0.9, "smooth": 0.5, "critic": 1e3,
    "choice_entropy": 1.0,
}  # fmt: skip
"""Other values, by the end of an option's name; several where methods differ. What is missing is halved or turned."""

LOOSE = {"limit": ("wear<=100",)}
EXTENDED = {"steps": 400, "policies": 4, "select": 1}
HEARD = {"learner.learning_rate": 0.05, "limit": ("wear<=0.005",)}  # critics soon expect more costs than that
CLOSE = {"discount": 0.9, "limit": ("wear<=3.4",)}  # kept by discounted sums alone
APART = {"solver.by_mean": 1e-9, "solver.by_spread": 1e-9, "learner.learning_rate": 0.05}
NEEDS: dict[str, dict[str, Any]] = {
    "env": {"policies": 3, "rule.reference": (-9.0,), **LOOSE},
    "conditioned-lagrangian env": {"limit": ("wear<=4..5",)},
    "learner.calm": {"learner.anneal": True, "steps": 400}, "learner.choice_entropy": {"env": "three", **LOOSE},
    "extension": EXTENDED, "select": EXTENDED, "extension_iterations": EXTENDED, "keep_share": EXTENDED,
    "sharpness": EXTENDED, "cvpo scale": HEARD | {"discount": 0.9}, "cvpo margin": HEARD, "cvpo solver.bound": HEARD,
    "crpo scale": CLOSE,
    "shift": {"utility": "square-root"}, "temperature": {"utility": "soft-min"}, "centre": {"baseline": "none"},
    "margin": LOOSE, "crpo weights": LOOSE, "scale": {"discount": 0.9}, "page-pg batch": {"probability": 0.01},
    "page-pg centre": {"probability": 0.01}, "page-pg probability": {"probability": 0.01},
    "ipo scale": CLOSE, "p3o scale": CLOSE, "cpo scale": CLOSE, "pcpo scale": CLOSE,
    "cpo solver.ball.backtracks": {**LOOSE, "solver.ball.radius": 5.0},
    "rule.rate": {"env": "three"}, "rule.floor": {"env": "three"}, "ball.backtracks": {"ball.radius": 5.0},
    "solver.ball.backtracks": {"solver.step": "trust-region", "solver.ball.radius": 5.0},
    "solver.ball.radius": {"solver.step": "trust-region"}, "solver.ball.damping": {"solver.step": "trust-region"},
    "solver.ball.iterations": {"solver.step": "trust-region"}, "solver.ball.samples": {"solver.step": "trust-region"},
    "solver.ball.shorten": {"solver.step": "trust-region", "solver.ball.radius": 5.0},
    "solver.unit": {"limit": ("wear<=1.5", "speed>=99")}, "solver.strength": {"solver.rule": "optimistic"},
    "solver.rule.delay": {"solver.rule.kd": 1.0}, "sac-pid solver.kd": {"solver.delay": 1},
    "solver.delay": {"solver.kd": 5.0, "solver.delay": 1},
    "solver.hold": APART, "solver.by_mean": APART, "solver.by_spread": APART,
    "ipd distance": {"grace": 0}, "capacity": {"policies": 12, "learner.learning_rate": 0.1},
    "mo-tsivr-pg learning_rate": {"radius": 1e3},
}  # fmt: skip
"""In which circumstances an option acts, by its name, perhaps behind the method's; fields that are missing are not set.
Without them it may be refused."""
TINY = {"rollout_steps": 6, "environments": 2, "epochs": 2, "minibatches": 2, "hidden": (3,)}
REPLAYED = {"warmup": 12, "batch": 8, "updates": 0.25, "capacity": 40}


def three(num_envs: int, **options: Any) -> Any:
    """Three objectives and a cost of 3 choices in 4 states, all drawn once."""
    draw = np.random.default_rng(0)
    moves, pay, wear = draw.dirichlet(np.ones(4), (4, 3)), draw.uniform(1, 2, (4, 3, 3)), draw.uniform(size=(4, 3, 1))
    model = finite_arrays(moves, pay, cost=wear, horizon=5)
    return make_tabular(model, num_envs, id="three", costs=("wear",), **options)


@pytest.fixture(autouse=True)
def environments() -> None:
    register("drive", lambda num_envs, **options: Drive((1.0, 1.0, 1.0), num_envs, **options))
    register("three", three)


def base(method: str) -> RunConfig:
    """A run of a few steps."""
    kind: Any = METHODS[method]
    known = {f.name for f in fields(kind)}
    wanted: dict[str, Any] = {"env": "drive", "policies": 2, "steps": 10**6, "evaluate_every": 1000, "episodes": 1}
    if "learner" in known:
        learner: Any = kind().learner
        small = TINY | (REPLAYED if isinstance(learner, SoftConfig) else {})
        wanted["learner"] = replace(learner, **{k: x for k, x in small.items() if hasattr(learner, k)})
    own = {"hidden": (3,), "batch": 4, "checkpoint": 6, "period": 2, "final_episodes": 2, "curvature": 3}
    wanted |= {k: x for k, x in own.items() if k in known}
    if "limit" in known:
        wanted["limit"] = ("wear<=1.5..3.0",) if "conditioned" in method else ("wear<=1.5",)
    made: RunConfig = kind(**wanted)
    return made


def leaves(settings: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Options with their values, those of nested settings as outer.inner."""
    for f in fields(settings):
        value = getattr(settings, f.name)
        if is_dataclass(value):
            yield from leaves(value, f"{before}{f.name}.")
        else:
            yield before + f.name, value


def changed(settings: Any, changes: dict[str, Any]) -> Any:
    """Settings with other values for options that they have."""
    parts: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        outer, _, inner = name.partition(".")
        if hasattr(settings, outer):
            parts.setdefault(outer, {})[inner] = value
    made = {k: x[""] if "" in x else changed(getattr(settings, k), x) for k, x in parts.items()}
    return replace(settings, **made)


@cache
def trained(config: Any) -> bytes:
    """Of the policies, after a few iterations."""
    run = config.start()
    learner = getattr(config, "learner", None)
    slow = learner is None or hasattr(getattr(config, "solver", None), "strength")  # which compares three iterations
    for _ in range(6 if isinstance(learner, SoftConfig) else 3 if slow else 2):
        run.advance()
    found = run.learner.population.theta
    return str(tuple(found.shape)).encode() + found.numpy().tobytes()


@cache
def reported(config: Any) -> str:
    """All of a result."""
    found = config.run()
    return str((found.population.theta.numpy().tobytes(), found.table(), found.history, vars(found).get("indicators")))


def others(leaf: str, now: Any) -> list[Any]:
    """Values to try instead of the present one."""
    name = leaf.rpartition(".")[2]
    if name in VALUES:
        value = VALUES[name]
        several = isinstance(value, tuple) and name in ("step", "unit", "limit", "utility")
        found = [x if name != "limit" else (x,) for x in value] if several else [value]
        found = [x for x in found if x != now and (type(x) is type(now) or now is None or isinstance(x, str))]
        if found:
            return found
    if isinstance(now, bool):
        return [not now]
    if isinstance(now, int):
        return [now + 1]
    if isinstance(now, float):
        return [now / 2 if now else 0.3]
    return [tuple(2 * x for x in now)]


def acts(method: str, leaf: str, now: Any) -> None:
    """Assert that an option does something, or is refused by its name."""
    needs = NEEDS.get(f"{method} {leaf}", NEEDS.get(leaf, {}))
    plain: Any = base(method)
    late = leaf in LATE
    if late:
        plain = changed(plain, {"steps": 300, "evaluate_every": 2})
    try:
        plain = changed(plain, needs)
        outcome = reported if late else trained
        before = outcome(plain)
    except ValueError:  # what it needs is refused by this method
        plain, before = base(method), ""
    refused = []
    for value in others(leaf, now):
        try:
            if outcome(changed(plain, {leaf: value})) != before:
                return
        except ValueError as error:
            refused.append(str(error))
    assert refused, f"{leaf} changes nothing"
    name = leaf.rpartition(".")[2]
    assert any(name in said and "\n" not in said for said in refused), f"the refusal of {leaf} names it: {refused}"


@pytest.mark.parametrize(
    "method", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in METHODS]
)
def test_every_option_changes_something_or_is_refused(method: str) -> None:
    config = base(method)
    assert trained(config) == trained.__wrapped__(base(method)), "and nothing else does"
    wrong = []
    for leaf, now in leaves(config):
        if leaf in SAME or (leaf.startswith("learner.") and method in LIKE) or (leaf in OF_RUNS and method not in FAST):
            continue
        try:
            acts(method, leaf, now)
        except AssertionError as error:
            wrong.append(str(error).splitlines()[0])
    assert not wrong, wrong


REFUSED: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("ppo", {"env": "three", "learner.spread": 0.5}, "spread 0.5 has no effect: the actions of three are choices"),
    ("weighted-sum", {"env": "three", "policies": 3, "learner.squash": True}, "squash True has no effect: the actions"),
    ("lagrangian", {"env": "three", **LOOSE, "learner.calm": 0.5, "learner.anneal": True}, "calm 0.5 has no effect"),
    ("ppo", {"env": "three", "learner.normalise": False}, "normalise False has no effect: the observations of three"),
    ("sac-lagrangian", {"env": "three", **LOOSE, "learner.entropy": -2.0}, "entropy -2.0 has no effect: the actions"),
    ("wcsac", {"learner.choice_entropy": 0.5}, "choice_entropy 0.5 has no effect: the actions of drive are numbers"),
    ("cal", {"learner.temperature_rate": 0.0, "learner.entropy": -2.0}, "entropy -2.0 has no effect: temperature_rate"),
    ("cal", {"learner.members": 1, "solver.caution": 0.7}, "caution 0.7 has no effect: a single critic"),
    ("cvpo", {"env": "three", **LOOSE, "solver.actions": 5}, "actions 5 has no effect: actions are choices"),
    ("saute", {"solver.step": "trust-region", "learner.entropy": 0.1}, "entropy 0.1 has no effect: saute with step"),
    ("c-morl", {"extension": 0.0, "keep_share": 0.5}, "keep_share 0.5 has no effect: extension 0 extends no policy"),
    ("mo-tsivr-pg", {"step": "adam"}, "learning_rate 1.0 is meant for steps of bounded length"),
    ("pid-lagrangian", {"solver.rule.delay": 3}, "delay 3 has no effect: kd is 0"),
    ("sac-pid", {"solver.kd": 0.0, "solver.delay": 3}, "delay 3 has no effect: kd is 0"),
    ("simmer", {"first_share": 1.0, "widened": 0.3}, "widened 0.3 has no effect: first_share 1"),
    ("early-termination", {"scale": "discounted", "discount": 0.9, "clock": False}, "clock False has no effect"),
    ("ctnb", {"policies": 1, "distance": 0.1}, "distance 0.1 has no effect: one policy has none to differ from"),
    ("dynamic-weights-ppo", {"rule.rate": 0.5}, "rate 0.5 has no effect: drive has two objectives"),
    ("reload", {"scale": "discounted"}, "scale 'discounted' has no effect: with discount 1.0"),
    ("ppo", {"learner.epochs": 1, "learner.minibatches": 1, "learner.clip": 0.1}, "clip 0.1 has no effect: the only"),
)  # fmt: skip


@pytest.mark.parametrize(("method", "changes", "says"), REFUSED)
def test_a_combination_that_leaves_an_option_without_effect_is_refused(
    method: str, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        changed(base(method), changes).start()


@pytest.mark.parametrize(("method", "changes", "says"), REFUSED[:9])
def test_a_run_that_was_begun_with_it_goes_on(method: str, changes: dict[str, Any], says: str) -> None:
    with as_written():
        changed(base(method), changes).start()


@pytest.mark.parametrize(
    ("words", "leaf", "value"),
    [
        ("lagrangian --limit time>=-6 --step trust-region", "learner.entropy", 0.0),
        ("c-morl --env fruit-tree-v0 --extension 0", "select", 5),
        ("ppo --env SafetyAntVelocity-v1 --no-anneal", "learner.calm", 1.0),
        ("mo-tsivr-pg --step adam", "learning_rate", 0.01),
        ("mo-tsivr-pg", "learning_rate", 1.0),
    ],
)
def test_what_is_recommended_follows_the_options_that_are_given(words: str, leaf: str, value: Any) -> None:
    assert dict(leaves(training(words.split()).method))[leaf] == value
