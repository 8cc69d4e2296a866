"""Options of the commands: dataclasses that the command line and its help are generated from."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from tradeoff.chosen import decisive, fitting
from tradeoff.chosen import gathered as gathered
from tradeoff.chosen import wanted as wanted
from tradeoff.engine.numbers import Count, Range, check_numbers
from tradeoff.errors import BadInput, as_bad_input

C = TypeVar("C")
T = TypeVar("T")
Seed = Annotated[int, Range(0)]
Formats = tuple[Literal["png", "pdf", "svg"], ...]  # of pictures; written here too, since drawing loads torch


@dataclass(frozen=True, kw_only=True)
class Train(Generic[C]):
    """Train, score on fresh seeds, and leave everything in a run folder."""

    out: Path | None = None  # folder of the run, new or empty; None: runs/METHOD-ENV-SEED
    cost: tuple[str, ...] = ()  # of a gymnasium env: [name=][-]SOURCE, a key of its info, an objective, or reward[1]
    objectives: tuple[str, ...] = ()  # names for the reward's columns, one each; none: as the environment says
    threads: Count = 1  # of torch; small networks run fastest on one
    init: Path | None = None  # folder of a finished run whose policies are the first ones, where the networks fit
    quiet: bool = False  # print nothing but errors
    method: C


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Go on with an interrupted run, to the same results as if it had not been interrupted, or further than it was to.

    Settings that are given replace those of the run from here on; a finished run's results are kept in a folder of
    their own.
    """

    run: Positional[Path]  # its folder
    steps: int | None = None  # real environment steps, those already made included
    horizon: int | None = None  # cut episodes after so many steps
    evaluate_every: int | None = None  # iterations between evaluations (and checkpoints)
    episodes: int | None = None  # evaluation episodes per policy during training
    final_episodes: int | None = None  # fresh episodes per policy for what is reported
    trust_code: bool = False  # import and run code that config.json names (module:name)
    quiet: bool = False  # print nothing but errors


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Play the policies of a run on fresh seeds: all of them, or the one that a preference selects."""

    run: Positional[Path]  # its folder
    weights: tuple[float, ...] | None = None  # how much each objective matters; selects the best weighted return
    minimum: tuple[float | None, ...] | None = (
        None  # least returns, or None; then the best by weights, or by those with None
    )
    limit: tuple[str, ...] = ()  # name<=number or name>=number, for policies that see their limits: which ones to keep
    episodes: Count = 100  # per policy
    seed: Seed = 1  # of the first episode; the others follow it
    trust_code: bool = False  # import and run code that the folder names (module:name)
    json: bool = False  # print one JSON object instead of a table


@dataclass(frozen=True, kw_only=True)
class Safety:
    """Bound, from fresh episodes, the share of episodes that break a run's limits, and what episodes cost."""

    run: Positional[Path]  # its folder
    limit: tuple[str, ...] = ()  # name<=number or name>=number per episode; none: those of the run
    ceiling: tuple[str, ...] = ()  # name=number or name=lowest:highest, what an episode can cost; none: if it is known
    confidence: float = 0.95  # of each bound by itself
    share: Annotated[float, Range(1e-6)] = 0.1  # worst share of episodes that is looked at
    jointly: bool = False  # the confidence is that of all bounds together
    episodes: Count = 500  # per policy and way of choosing actions
    seed: Seed = 10_000  # of the first episode; the others follow it
    trust_code: bool = False  # import and run code that the folder names (module:name)
    format: Formats = ("png",)  # of the picture; several give a file of each


@dataclass(frozen=True, kw_only=True)
class Diagnose:
    """Play fresh episodes of a run's policies and say whether a larger batch, a baseline or memory would help."""

    run: Positional[Path]  # its folder, finished or not
    policies: Count = 4  # at most so many, spread evenly over those in training
    episodes: Count = 100  # per policy
    seed: Seed = 1  # of the episodes and of the intervals
    trust_code: bool = False  # import and run code that the folder names (module:name)
    json: bool = False  # print one JSON object instead of a table
    format: Formats = ("png",)  # of the picture; several give a file of each


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Draw the pictures of runs anew; several runs of one environment are drawn beside each other, too."""

    runs: Positional[tuple[Path, ...]]  # their folders
    out: Path | None = None  # folder for pictures of several runs; None: beside the first run, plots-ENV
    format: Formats = ("png",)  # of the pictures; several give a file of each


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Compare methods on a suite of tasks with limits. Runs that are finished are not trained again."""

    suite: Positional[str]  # safe-velocity, safe-navigation, safe-small or safe-tabular
    methods: tuple[str, ...] = ("reload", "lagrangian")  # names of methods that keep limits
    seeds: Annotated[tuple[int, ...], Range(0)] = (0, 1, 2)  # one run each
    policies: Count = 1  # per run, trained side by side, each as independent as a run of its own, and cheaper
    envs: tuple[str, ...] = ()  # tasks of the suite; none: all of them
    limit: tuple[str, ...] = ()  # in place of the suite's limits
    margin: float = 0.2  # share of the limits kept in reserve while training; judged is by the limits themselves
    steps: Count = 1_000_000  # real environment steps per policy, evaluations during training included
    evaluations: Count = 20  # during training
    episodes: Count = 3  # per evaluation
    final_episodes: Count = 50  # per policy, on fresh seeds
    workers: int | None = None  # runs at a time; None: one per core
    out: Path | None = None  # folder of the runs, standings and pictures; None: runs/SUITE
    format: Formats = ("png",)  # of the pictures; several give a file of each


@dataclass(frozen=True, kw_only=True)
class Envs:
    """List environments: objectives, who computes them, reference point, whether a front is known."""

    pattern: Positional[str] = ""  # only ids that contain it
    json: bool = False  # print a JSON list instead of a table


@dataclass(frozen=True, kw_only=True)
class Methods:
    """List methods."""


def parse(kind: Any, words: Sequence[str], command: str, default: Any = None) -> Any:
    """Options of a command from its words.

    Raises: BadInput with what the parser found wrong; SystemExit(0) after printing help.
    """
    given = {} if default is None else {"default": default}
    complaint = io.StringIO()
    program = f"tradeoff {command}"
    for option, value in pairwise([*words, "-"]):
        if option.startswith("--") and (option.endswith("=") or value == ""):
            raise BadInput(f"{option.rstrip('=')} has an empty value; give one, or leave the option out")
    try:
        with contextlib.redirect_stderr(complaint):
            found = tyro.cli(kind, args=list(words), prog=program, config=(OmitArgPrefixes,), **given)
    except SystemExit as end:
        if end.code in (0, None):
            raise
        raise BadInput(one_line(complaint.getvalue(), program)) from None
    with as_bad_input():
        check_numbers(found)
    return found


def one_line(box: str, program: str) -> str:
    """The parser's framed complaint as one line: what is wrong, the nearest option, where help is."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", box)
    lines = [line.strip("│ ") for line in text.splitlines() if not line.startswith(("╭", "╰"))]
    rules = [i for i, line in enumerate(lines) if line and not line.strip("─-")]
    if rules[:1] == [1] and "╭" not in text:  # without box-drawing characters the title stands inside
        lines, rules = lines[2:], [i - 2 for i in rules[1:]]
    said = " ".join(lines[: rules[0] if rules else None])
    wrong = re.sub(r"^Error parsing method[.\w]*: ", "", said.strip())
    union = re.match(r"(?:Error parsing )?(--[\w-]+): no type matching (.*?) could be .*? from \[(.*?)\]", wrong)
    if union:  # the parser's own account of it is long
        option, kinds, given = union.groups()
        wanted = "numbers, or None" if "None" in kinds else "numbers"
        wrong = f"{option} takes {wanted}, got {given.replace(chr(39), '').replace(',', '')}"
    near = re.search(r"Perhaps you meant:\s*(--\S+)", " ".join(lines))
    hint = f"; perhaps {near[1]}?" if near else ""
    return f"{wrong or text.strip()}{hint}; `{program} --help` lists the options"


def training(words: Sequence[str]) -> Train[Any]:
    """Options of `train METHOD ...`, with the defaults that are recommended for the method and its `--env`.

    Raises: UnknownName for a method that does not exist; as `parse`.
    """
    from tradeoff.engine.run import RunConfig
    from tradeoff.envs.errors import UnknownName
    from tradeoff.envs.gymnasium_costs import join_costs
    from tradeoff.registry import METHODS, recommended

    name, rest = words[0], gathered(gathered(words[1:], "--limit"), "--cost")
    if name not in METHODS:
        raise UnknownName("method", name, METHODS)
    env = wanted(rest, "--env") or RunConfig.env
    with as_bad_input():
        default: Any = Train(method=fitting(recommended(name, env, **decisive(METHODS[name], rest)), rest))
    kind: Any = METHODS[name]
    cut = rest.index("--cost") if "--cost" in rest else len(rest)
    costs = tuple(rest[cut + 1 :])  # read here: the parser takes a minus for an option
    options: Train[Any] = parse(Train[kind], rest[:cut], f"train {name}", default)
    return replace(
        options,
        cost=costs,
        method=replace(options.method, env=join_costs(options.method.env, costs, options.objectives)),
    )
