"""Policies trained one after another, each at least so far from those before it: IPD and CTNB."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from tradeoff.engine.actor_critic import ACTOR, ActorCritic
from tradeoff.engine.estimators import Oracle, Plain
from tradeoff.engine.evaluate import Scores, evaluate
from tradeoff.engine.features import make_features
from tradeoff.engine.heads import make_head
from tradeoff.engine.learner import Learner, LearnerConfig, fresh_population, standardised
from tradeoff.engine.normalisers import Moments
from tradeoff.engine.numbers import Range
from tradeoff.engine.population import Population
from tradeoff.engine.scalarizers import Linear, padded
from tradeoff.engine.surrogates import Surrogate
from tradeoff.engine.trained import Trained
from tradeoff.engine.training import Training, TrainingConfig
from tradeoff.engine.trajectories import Batch
from tradeoff.engine.unread import refuse_unread, refuse_unread_on
from tradeoff.envs.errors import TradeoffError
from tradeoff.envs.protocol import EnvSpec, VectorEnv
from tradeoff.safe.constraints import Constraint, bind
from tradeoff.safe.methods import kept
from tradeoff.safe.novelty import ctnb_direction
from tradeoff.safe.novelty_watch import CHANNEL, Acting, FollowedRollout, NoveltyWatch, acting


class Bisector(Plain):
    """CTNB: climb the return alone while the novelty suffices, else along the bisector of both gradients."""

    def __init__(self, model: ActorCritic, surrogate: Surrogate, env: NoveltyWatch) -> None:
        """env: says how novel the policy is at present."""
        self.model, self.surrogate, self.env = model, surrogate, env

    def gradient(self, theta: Tensor, batches: dict[str, Batch], oracle: Oracle) -> Tensor:
        """See Estimator.gradient; critics learn as ever."""
        batch = batches["current"]
        gradient = oracle(theta, batch)
        if self.env.mean >= self.env.distance:
            return gradient
        novel = batch._replace(advantage=standardised(batch.advantages[..., -1:]))
        away, _ = self.model.gradient(theta, novel, self.surrogate, 0.0, 0.0)
        broken = torch.ones(len(theta), dtype=torch.bool, device=theta.device)
        gradient[:, ACTOR] = ctnb_direction(gradient[:, ACTOR], away[:, ACTOR], broken)
        return gradient


@dataclass(frozen=True, kw_only=True)
class NoveltyConfig(TrainingConfig):
    """What training for novelty needs to know."""

    policies: int = 2  # trained one after another in equal shares of the steps, each unlike those before it
    references: tuple[str, ...] = ()  # folders of finished runs whose policies the first one must differ from, too
    distance: float = 0.5  # least distance from the nearest earlier policy, mean per step (see tradeoff.safe.novelty)
    discount: float | None = 1.0  # of the returns that are reported
    learner: LearnerConfig = field(default_factory=LearnerConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.distance > 0:
            raise ValueError(f"distance must be positive, got {self.distance}")
        if self.policies == 1 and not self.references:
            why, way_out = "one policy has none to differ from", "give references or more policies, or leave it out"
            refuse_unread(self, ["distance", "grace"], why, way_out)

    @property
    @abstractmethod
    def ends(self) -> int | None:
        """Steps after which episodes in training end for lack of novelty; None: they do not."""

    def start(self) -> NoveltyTraining:
        """See RunConfig.start."""
        return NoveltyTraining(self)

    def build(self, run: Training) -> Learner:
        """See TrainingConfig.build; one policy, on environments that watch it."""
        watched: Any = run.make_env(self.learner.environments, run.draw_seed())
        m, channels = len(watched.spec.objectives), len(watched.spec.objectives) + len(watched.spec.costs)
        head = make_head(watched.spec.action_space, self.learner.squash)
        model = ActorCritic(
            make_features(watched.spec.observation_space, watched.spec.near), head, channels, self.learner.hidden
        )
        learner = Learner(
            model, FollowedRollout(watched, 1, self.learner.rollout_steps),
            fresh_population(model, 1, run.generator, self.learner.spread),
            Linear(padded(torch.full((1, m), 1 / m, device=watched.device), channels)), self.learner, run.generator,
            discount=1.0,
        )  # fmt: skip
        if watched.references:
            self.steer(learner, watched)
        return learner

    def steer(self, learner: Learner, env: NoveltyWatch) -> None:
        """Make a learner heed the novelty."""

    def value(self, returns: Tensor, spec: EnvSpec) -> Tensor:
        """The mean objective."""
        return returns[:, : len(spec.objectives)].mean(1)

    def rate(self, share: float) -> float:
        """See TrainingConfig.rate; every policy begins anew."""
        return 1.0 - share * self.policies % 1.0 if self.learner.anneal else 1.0

    def context(self, run: Training, returns: Tensor) -> dict[str, Any]:
        """Whether each policy keeps its distance; the first has none to keep where there are no references."""
        limits = tuple(self.distance if self.references or p else 0.0 for p in range(len(returns)))
        least = Constraint(cost=CHANNEL, limit=limits, scale="average", sense=">=")
        return kept(bind([least], run.spec, discount=1.0), returns)


class NoveltyTraining(Training):
    """A run whose policies come one after another. The return of "novelty" is its mean per step, not a sum."""

    config: NoveltyConfig

    def __init__(self, config: NoveltyConfig) -> None:
        """Read the references, begin the first policy. Raises TradeoffError for references of another environment."""
        self.earlier: list[Population] = []  # finished policies, one each
        self.given = [reference for folder in config.references for reference in read(folder, config.env)]
        super().__init__(config)
        refuse_unread_on(self.spec, config.learner)
        for reference in self.given:
            if reference.model.head != self.model.head:
                raise TradeoffError(f"a reference acts by {reference.model.head}, this run by {self.model.head}")

    def known(self, policy: int) -> list[Acting]:
        """Whom a policy must differ from."""
        return self.given + [acting(self.model, people) for people in self.earlier[:policy]]

    def make_env(self, num_envs: int, seed: int) -> VectorEnv:
        """See Run.make_env; it watches the policy that is trained now."""
        return self._watched(num_envs, seed, len(self.earlier), self.config.ends)

    def _watched(self, num_envs: int, seed: int, policy: int, grace: int | None) -> NoveltyWatch:
        return NoveltyWatch(super().make_env(num_envs, seed), self.known(policy), self.config.distance, grace)

    def advance(self) -> dict[str, Any]:
        """See Run.advance."""
        row = super().advance()
        if self.total * self.config.policies >= self.config.steps * (len(self.earlier) + 1) and not self.done:
            self.earlier.append(self.learner.population)
            self._begin_next()
        return row

    def _begin_next(self) -> None:
        self.learner = self.config.build(self)
        self.learner.source.taken = self.steps["training"]

    @property
    def population(self) -> Population:
        """See Training.population; the finished policies, then the one that is trained now."""
        return joined([*self.earlier, self.learner.population])

    def score(self, population: Population, episodes: int, *, deterministic: bool = True) -> Scores:
        """See Run.score; each policy against those before it. No episode ends for lack of novelty."""
        first = len(self.earlier) if len(population) == 1 else 0
        parts = [self._score(population[[p]], first + p, episodes, deterministic) for p in range(len(population))]
        returns, lengths = (torch.cat([getattr(part, name) for part in parts]) for name in ("returns", "lengths"))
        return Scores(returns, lengths, sum(part.steps for part in parts))

    def _score(self, one: Population, policy: int, episodes: int, deterministic: bool) -> Scores:
        def watched(num_envs: int, seed: int) -> NoveltyWatch:
            env = self._watched(num_envs, seed, policy, None)
            env.follow(acting(self.model, one))
            return env

        seed, by = self.draw_seed(), self.discount
        scores = evaluate(
            watched, self.model, one, episodes=episodes, discount=by, seed=seed, deterministic=deterministic
        )
        steps = scores.lengths if by == 1 else (1 - by**scores.lengths) / (1 - by)
        scores.returns[..., -1] /= steps
        return scores

    def state_dict(self) -> dict[str, Any]:
        """See Run.state_dict."""
        return super().state_dict() | {"earlier": [people.state_dict() for people in self.earlier]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Run.load_state_dict."""
        self.earlier = [Population.from_state(people) for people in state["earlier"]]
        self._begin_next()
        super().load_state_dict(state)


def read(folder: str, env: str) -> list[Acting]:
    """The policies of a finished run. Raises TradeoffError where there is none, or one of another environment."""
    trained = Trained.load(Path(folder))
    if trained.env != env:
        raise TradeoffError(f"{folder} holds policies for {trained.env}, this run is for {env}; name another folder")
    return [acting(trained.model, trained.population)]


def joined(parts: list[Population]) -> Population:
    """Populations as one."""
    theta = torch.cat([p.theta for p in parts])
    observations, returns = (
        Moments(*(torch.cat(x) for x in zip(*(getattr(p, name) for p in parts), strict=True)))
        for name in ("observations", "returns")
    )
    return Population(theta, observations, returns)


@dataclass(frozen=True, kw_only=True)
class IPD(NoveltyConfig):
    """Interior policy differentiation: an episode is over where the policy is no longer novel, so it turns elsewhere.

    What makes the interior worth staying in is that rewards are missed: they must be positive on the whole.
    Source: Sun et al. 2020, arXiv:2005.10696, section 4.3.
    """

    name: ClassVar[str] = "ipd"

    grace: Annotated[int, Range(0)] = 20  # steps of an episode before it may end for lack of novelty

    @property
    def ends(self) -> int | None:
        """See NoveltyConfig.ends."""
        return self.grace


@dataclass(frozen=True, kw_only=True)
class CTNB(NoveltyConfig):
    """Constrained task-novel bisector: climb the return, and along the bisector with novelty while it is too small.

    Source: Sun et al. 2020, arXiv:2005.10696, section 4.2; conflicts are resolved as in safe.novelty.ctnb_direction.
    """

    name: ClassVar[str] = "ctnb"

    @property
    def ends(self) -> int | None:
        """See NoveltyConfig.ends."""
        return None

    def steer(self, learner: Learner, env: NoveltyWatch) -> None:
        """See NoveltyConfig.steer."""
        learner.estimator = Bisector(learner.model, learner.surrogate, env)


METHODS: dict[str, type[NoveltyConfig]] = {kind.name: kind for kind in (IPD, CTNB)}
