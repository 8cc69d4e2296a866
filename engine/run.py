"""A run: trains to a budget of real environment steps, rests at checkpoints, and resumes to the same bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Generator

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.checkpoint import save_numbered
from tradeoff.engine.endings import evaluation_cut, warn_endless
from tradeoff.engine.evaluate import Endless, Scores, evaluate
from tradeoff.engine.numbers import check_numbers
from tradeoff.engine.population import Population
from tradeoff.envs import VectorEnv, make
from tradeoff.envs.errors import NumericalTrouble, TradeoffError, UserCodeFailed
from tradeoff.envs.protocol import EnvSpec

Log = Callable[[dict[str, Any]], None]


class Interrupted(TradeoffError):
    """The run was asked to stop and can be resumed."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every run needs to know. The fields, and those that a method adds, are its options on the command line."""

    name: ClassVar[str] = ""

    env: str = "deep-sea-treasure-v0"  # environment id
    steps: int = 200_000  # real environment steps: training and the evaluations during it
    seed: int = 0  # one seed, one result, bit for bit
    policies: int = 8  # policies trained side by side
    horizon: int | None = None  # cut episodes after so many steps; None: as the environment says
    discount: float | None = None  # of the returns that are reported; None: the environment's usual one
    evaluate_every: int = 10  # iterations between evaluations (and checkpoints)
    episodes: int = 5  # evaluation episodes per policy during training
    final_episodes: int = 20  # fresh episodes per policy for what is reported
    device: str = "cpu"  # where environments and networks live

    def __post_init__(self) -> None:
        check_numbers(self)
        for name, least in (("policies", 1), ("steps", 1), ("evaluate_every", 1), ("episodes", 1),
                            ("final_episodes", 2), ("seed", 0)):  # fmt: skip
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.horizon is not None and self.horizon < 1:
            raise ValueError(f"horizon must be at least 1, got {self.horizon}")
        if self.discount is not None and not 0 < self.discount <= 1:
            raise ValueError(f"discount must lie in (0, 1], got {self.discount}")

    @classmethod
    def completed(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Settings that an older release wrote, with what its fields did not say yet."""
        return settings

    def start(self) -> Run:
        """A fresh run."""
        raise NotImplementedError

    def discount_on(self, spec: EnvSpec) -> float:
        """Of the returns that are reported."""
        return spec.discount if self.discount is None else self.discount

    def shown(self, env: VectorEnv) -> VectorEnv:
        """The environment as policies see it."""
        return env

    def run(self, out: Path | str | None = None, *, progress: bool = False, log: Log | None = None) -> Any:
        """Train, and return the result: a front, or trained policies.

        Args:
            out: folder for checkpoints; None keeps nothing.
            progress: show a progress bar.
            log: called with a dict of numbers after every iteration.
        """
        return complete(self.start(), out, progress=progress, log=log)


class Run(ABC):
    """The state of a run between two iterations. Everything that matters is in `state_dict`."""

    model: ActorCritic
    learner: Any  # a Loop
    iteration = 0
    dearest = 0  # real environment steps of the dearest evaluation so far
    at_rest = True  # whether the run stands at a point where checkpoints fall
    rested: int | None = None  # seed of the last `rest`

    def __init__(self, config: RunConfig) -> None:
        """Look at the environment, and begin with nothing learnt."""
        self.config: Any = config
        self.generator = Generator(config.device).manual_seed(config.seed)
        probe = self.make_env(1, config.seed)
        self.spec, self.exact_state = probe.spec, probe.exact_state
        probe.close()
        self.discount = config.discount_on(self.spec)
        self.steps = {"training": 0, "evaluation": 0}
        self.history: list[dict[str, Any]] = []

    @abstractmethod
    def advance(self) -> dict[str, Any]:
        """One iteration of the loop, and what falls due after it. Returns numbers for a logger."""

    @abstractmethod
    def result(self) -> Any:
        """What is reported, from fresh episodes; can `save` itself into a folder."""

    @abstractmethod
    def restart(self, seed: int) -> None:
        """Begin new episodes everywhere."""

    @property
    def cut(self) -> int | None:
        """Steps after which evaluations cut episodes."""
        return evaluation_cut(self.config, self.spec)

    def warn_endless(self) -> None:
        """Say where no episode may ever end: before training, not at the first evaluation."""
        if self.spec.horizon is None:
            warn_endless(self.make_env(1, self.config.seed), self.config.env, self.config.seed, self.cut)

    def make_env(self, num_envs: int, seed: int) -> VectorEnv:
        """Environments of this run's kind."""
        config = self.config
        try:
            env = make(config.env, num_envs, device=config.device, seed=seed, max_episode_steps=config.horizon)
        except (TradeoffError, ValueError, OSError):  # what was asked for does not fit
            raise
        except (Exception, SystemExit) as error:
            raise UserCodeFailed(config.env, error, "while it was built") from error
        return config.shown(env)

    def draw_seed(self) -> int:
        """A fresh seed from the run's own generator."""
        device = self.generator.device
        return int(torch.randint(2**31 - 1, (), generator=self.generator, device=device))

    @property
    def total(self) -> int:
        """Real environment steps so far."""
        return sum(self.steps.values())

    @property
    def done(self) -> bool:
        """Whether nothing but the last evaluation is left of the budget."""
        return self.total + self.evaluation_steps >= self.config.steps

    @property
    def longest(self) -> int | None:
        """Real environment steps of the longest episode of an evaluation; None where nobody knows."""
        longest = self.spec.horizon or self.cut
        return None if longest is None else longest * self.spec.repeat

    @property
    def evaluation_steps(self) -> int:
        """Real environment steps that the next evaluation takes at most; where nobody knows, as many as the dearest."""
        if self.longest is None:
            return self.dearest
        return len(self.learner.population) * self.config.episodes * self.longest

    def evaluated(self, scores: Scores) -> None:
        """Count what an evaluation during training took."""
        self.steps["evaluation"] += scores.steps
        self.dearest = max(self.dearest, scores.steps)

    def check_budget(self) -> None:
        """Raise ValueError where the budget is too small for one more iteration and its evaluation."""
        iteration, evaluation = self.learner.most_steps(self.longest), self.evaluation_steps
        least = self.total + iteration + evaluation
        if self.config.steps < least:
            taken = f"{self.total:,} are taken, " if self.total else ""
            raise ValueError(
                f"steps is {self.config.steps:,}, too few: {taken}an iteration takes {iteration:,} and an evaluation "
                f"({len(self.learner.population)} policies x {self.config.episodes} episodes) up to {evaluation:,}; "
                f"give at least {least:,}, or fewer policies, environments or episodes"
            )

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Names of the numbers that evaluations add to what `advance` returns."""

    @property
    def score_line(self) -> str:
        """The last evaluation in a few words, for the progress bar."""
        return ""

    def score(self, population: Population, episodes: int, *, deterministic: bool = True) -> Scores:
        """Evaluate policies on fresh seeds."""
        return evaluate(
            self.make_env, self.model, population,
            episodes=episodes, discount=self.discount, seed=self.draw_seed(), deterministic=deterministic, cut=self.cut,
        )  # fmt: skip

    def rest(self) -> None:
        """Where checkpoints fall, saved or not: environments whose state cannot be read begin anew."""
        if not self.exact_state:
            self.rested = self.draw_seed()
            self.restart(self.rested)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        return {
            "generator": self.generator.get_state(),
            "iteration": self.iteration,
            "rested": self.rested,
            "steps": dict(self.steps),
            "dearest": self.dearest,
            "history": self.history,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from `state_dict`'s answer."""
        self.generator.set_state(state["generator"])
        self.iteration, self.rested, self.steps = state["iteration"], state["rested"], dict(state["steps"])
        self.dearest = state.get("dearest", 0)  # older checkpoints do not say
        self.history = list(state["history"])


def complete(
    run: Run,
    out: Path | str | None = None,
    *,
    progress: bool = False,
    log: Log | None = None,
    stop: Callable[[], bool] = lambda: False,
    stamp: Callable[[], dict[str, Any]] = dict,
) -> Any:
    """Bring a run, fresh or loaded, to the end of its budget, and return its result.

    Args:
        run: from `RunConfig.start`, perhaps after `load_state_dict`.
        out: folder for checkpoints; None keeps none.
        progress: show a progress bar.
        log: called with numbers after every iteration.
        stop: asked between iterations; true saves and raises Interrupted.
        stamp: what checkpoints should hold besides the state of the run.
    """
    from tradeoff.engine.progress import bar

    if run.iteration == 0:
        run.check_budget()

    def save() -> None:
        if out is not None:
            save_numbered(out, run.total, run.state_dict() | stamp())

    with bar(run, progress) as show, way_out(out):
        while not run.done:
            row = _advance(run, save)
            if log is not None:  # before the checkpoint: what a resumed run does not repeat has been logged
                log(row)
            if run.at_rest:
                run.rest()
                save()
            show()
            if stop() and not run.done:
                _interrupt(run, out, save)
    with way_out(out):
        return run.result()


def _advance(run: Run, save: Callable[[], None]) -> dict[str, Any]:
    """Run.advance; what was learnt before an evaluation that cannot end is saved."""
    try:
        return run.advance()
    except Endless:
        run.rest()
        save()
        raise


@contextmanager
def way_out(out: Path | str | None) -> Iterator[None]:
    """Let trouble say from where the run would go on; out None keeps nothing to go on from."""
    try:
        yield
    except (NumericalTrouble, UserCodeFailed) as error:
        if out is not None:
            error.args = (f"{error}; {_going_on(out)}",)
        raise


def _going_on(out: Path | str) -> str:
    """Where a run that stopped would begin."""
    saved = any(Path(out).glob("checkpoint-*.pt"))
    return f"`tradeoff resume {out}` {'goes on from the last checkpoint' if saved else 'begins anew'}"


def _interrupt(run: Run, out: Path | str | None, save: Callable[[], None]) -> None:
    if out is None:
        raise Interrupted("stopped; nothing was saved: no folder")
    if run.exact_state or run.at_rest:
        if not run.at_rest:
            save()
        raise Interrupted(f"stopped; saved at {run.total} steps; go on with `tradeoff resume {out}`")
    raise Interrupted(f"stopped; this environment's state cannot be read, so {_going_on(out)}")
