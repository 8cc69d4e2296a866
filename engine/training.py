"""Runs that train policies for one aim: P replicas side by side, scored as they go and on fresh seeds at the end."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tradeoff.engine.evaluate import Scores
from tradeoff.engine.loop import Loop
from tradeoff.engine.policy import speaking
from tradeoff.engine.population import Population
from tradeoff.engine.run import Run, RunConfig
from tradeoff.engine.trained import Trained
from tradeoff.envs.protocol import EnvSpec


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(RunConfig):
    """What every method with one aim needs to know. Policies differ by their chance alone."""

    policies: int = 1  # replicas trained side by side, each an independent run

    @abstractmethod
    def build(self, run: Training) -> Loop:
        """The loop, on environments from `run.make_env` and chance from `run.generator`."""

    @abstractmethod
    def value(self, returns: Tensor, spec: EnvSpec) -> Tensor:
        """What is to be maximised [P], of mean returns [P, m + k]."""

    def start(self) -> Training:
        """See RunConfig.start."""
        return Training(self)

    def rate(self, share: float) -> float:
        """Factor of the learning rates once a share of the steps is spent."""
        return 1.0

    def remarks(self, run: Training, record: dict[str, Tensor]) -> dict[str, Any]:
        """What else an evaluation should note, as plain values; record: what the learner's last iteration said."""
        return {}

    def context(self, run: Training, returns: Tensor) -> dict[str, Any]:
        """What else the indicators of a finished run should hold; returns: [P, E, m + k] of its last episodes."""
        return {}


class Training(Run):
    """A run for one aim."""

    fresh: Scores  # of the last episodes, once there is a result
    likeliest: Scores  # of those by the likeliest actions

    def __init__(self, config: TrainingConfig) -> None:
        """Build environment, model and the first policies."""
        super().__init__(config)
        self.learner = config.build(self)
        self.model = self.learner.model
        self.steps["training"] = self.learner.source.taken

    @property
    def channels(self) -> tuple[str, ...]:
        """Objectives, then costs."""
        return (*self.spec.objectives, *self.spec.costs)

    @property
    def columns(self) -> tuple[str, ...]:
        """See Run.columns."""
        return ("value", *self.channels)

    def advance(self) -> dict[str, Any]:
        """See Run.advance."""
        record = self.learner.iterate(self.config.rate(self.total / self.config.steps))
        self.steps["training"] = self.learner.source.taken
        self.iteration += 1
        row: dict[str, Any] = {"steps": self.total, "iteration": self.iteration, "policies": self.config.policies}
        row["objective"] = float(record["objective"].mean())
        self.at_rest = self.done or self.iteration % self.config.evaluate_every == 0
        return row | self._judge(record) if self.at_rest else row

    def _judge(self, record: dict[str, Tensor]) -> dict[str, Any]:
        """Play the policies as they are, sampling included, and note what the learner says of itself."""
        scores = self.score(self.learner.population, self.config.episodes, deterministic=False)
        trained = self.steps["training"]  # before the evaluation, which no method's curve is charged for
        self.evaluated(scores)
        value = self.config.value(scores.mean, self.spec)
        said = {name: x.double().tolist() for name, x in record.items() if name != "returns"}
        length = scores.lengths.double().mean(1).tolist()
        if scores.sums is not None:
            said["sums"] = scores.sums.mean(1).tolist()
        said |= self.config.remarks(self, record)
        self.history.append(
            {"steps": trained, "value": value.tolist(), "returns": scores.mean.tolist(), "length": length, **said}
        )  # fmt: skip
        mean = dict(zip(self.channels, scores.mean.mean(0).tolist(), strict=True))
        return {"steps": self.total, "value": float(value.mean()), **mean}

    @property
    def score_line(self) -> str:
        """See Run.score_line."""
        return f"value {_mean(self.history[-1]['value']):.5g}" if self.history else ""

    @property
    def population(self) -> Population:
        """The policies that are the result."""
        return self.learner.population

    def restart(self, seed: int) -> None:
        """See Run.restart. Sources of whole episodes begin anew by themselves."""
        restart = getattr(self.learner.source, "restart", None)
        if restart is not None:
            restart(seed)

    def score_finally(self, *, deterministic: bool) -> Scores:
        """Evaluate the policies for what is reported."""
        return self.score(self.population, self.config.final_episodes, deterministic=deterministic)

    def result(self) -> Trained:
        """All policies, evaluated anew: as they were trained, and by their likeliest actions."""
        people = self.population
        played = [self.score_finally(deterministic=d) for d in (False, True)]
        self.fresh, self.likeliest = played
        steps = {**self.steps, "final_evaluation": sum(scores.steps for scores in played)}
        value, likeliest = (self.config.value(scores.mean, self.spec).tolist() for scores in played)
        indicators = {
            "env": self.config.env, "method": self.config.name, "seed": self.config.seed,
            "backend": self.spec.backend, "discount": self.discount, "horizon": self.spec.horizon,
            "repeat": self.spec.repeat,
            "value": value, "deterministic_value": likeliest,
            "real_environment_steps": {**steps, "total": sum(steps.values())},
            "episodes_per_policy": self.config.final_episodes, **({"cut": self.cut} if self.cut else {}),
            **self.config.context(self, played[0].returns),
        }  # fmt: skip
        return Trained(
            env=self.config.env, channels=self.channels, objectives=len(self.spec.objectives),
            returns=played[0].returns.cpu().numpy(), deterministic_returns=played[1].returns.cpu().numpy(),
            indicators=indicators, history=self.history,
            model=speaking(self.model, self.spec), population=people,
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """See Run.state_dict."""
        return super().state_dict() | {"learner": self.learner.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Run.load_state_dict."""
        if state["rested"] is not None:
            self.restart(state["rested"])
        self.learner.load_state_dict(state["learner"])
        super().load_state_dict(state)


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)
