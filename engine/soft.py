"""Soft actor-critic for vector rewards and costs: rollouts fill a replay, critics and actors learn from it.

The objective of the actor is the weighted sum of the channels' values plus the temperature times the entropy, so any
scalarizer steers it. See `tradeoff.engine.loop` for the loop. Source: Haarnoja et al. 2018, arXiv:1812.05905.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Generator, Tensor

from tradeoff.engine.actor_critic import ACTOR, ActorCritic
from tradeoff.engine.estimators import Plain
from tradeoff.engine.guards import check_parameters
from tradeoff.engine.loop import Loop
from tradeoff.engine.networks import Layers
from tradeoff.engine.normalisers import fresh_moments, standard, unit_moments, unseen, update_moments
from tradeoff.engine.population import Population
from tradeoff.engine.replay import Replay
from tradeoff.engine.rollout import EpisodeReturns, Source
from tradeoff.engine.scalarizers import Scalarizer
from tradeoff.engine.soft_config import SoftConfig
from tradeoff.engine.soft_critics import Critics
from tradeoff.engine.soft_head import SoftHead
from tradeoff.engine.trajectories import Trajectories
from tradeoff.engine.updates import Adam

CHUNK = 32  # updates whose samples are drawn and prepared at once
EPS = 1e-8  # of Adam
COLDEST = -20.0  # logarithm of the least temperature: chances are divided by it
ROLLOUT = "rollout"


class Sample(NamedTuple):
    """What one update needs, in the units of the networks."""

    inputs: Tensor  # [P, n, i]
    pairs: Tensor  # [P, n, i + a] inputs and kept actions
    next_inputs: Tensor  # [P, n, i]
    paid: Tensor  # [P, n, c] in units of the scale
    go_on: Tensor  # [P, n] discount, 0 where the task ended
    noise: Tensor  # [2, P, n, a or 0] of the successors' actions, and of the actor's own


@dataclass
class Tally:
    """What the updates of an iteration found."""

    objectives: list[Tensor] = field(default_factory=list)  # [P]
    read: list[Tensor] = field(default_factory=list)  # [P, c] mean values of replayed steps, in units of the scale
    plain: list[Tensor] = field(default_factory=list)  # [P, c] the same without caution
    errors: list[Tensor] = field(default_factory=list)  # [P] squared errors of the critics, in units of the scale


class Foresight(Protocol):
    """Whoever wants to know what critics expect."""

    def expect(self, read: Tensor, plain: Tensor) -> None:
        """Take the mean values [P, m + k] of replayed steps, as the actors read them, and without caution."""
        ...


class SoftLearner(Loop):
    """Trains a population on replayed steps: one update of the critics per step, or many."""

    source: Source

    def __init__(
        self,
        model: ActorCritic,
        source: Source,
        population: Population,
        scalarizer: Scalarizer,
        config: SoftConfig,
        generator: Generator,
        *,
        critics: Critics,
        episodes: EpisodeReturns,
        foresight: Foresight | None = None,
    ) -> None:
        """population: from `soft_population`. episodes: measures the returns that the scalarizer reads.

        foresight: is told after every iteration what the critics expect.
        """
        super().__init__(model, source, population, scalarizer, generator, [Adam(config.learning_rate, eps=EPS)])
        self.config, self.critics, self.episodes, self.foresight = config, critics, episodes, foresight
        self.estimator = Plain()
        policies, device = len(population), generator.device
        self.replay = Replay(
            policies, config.capacity, numbers=model.features.numbers, actions=critics.actions,
            channels=model.channels, context=model.context, device=device,
        )  # fmt: skip
        self.theta = critics.init(policies, generator)
        self.late = self.theta.clone()  # target networks
        self.log_temperature = torch.full((policies, 1, 1), config.temperature, device=device).log()
        rates = {"critics": config.learning_rate, "temperature": config.temperature_rate}
        moved = {"critics": self.theta, "temperature": self.log_temperature}
        self.rules = {name: Adam(rate, eps=EPS) for name, rate in rates.items()}
        self.moments = {name: rule.init(moved[name]) for name, rule in self.rules.items()}
        self.tally = Tally()
        self.turn = 0  # updates of the critics so far
        self.counted = False  # whether the rollout of this iteration is in the moments already
        if not config.normalise:
            population.observations = unit_moments(population.observations)

    @property
    def head(self) -> SoftHead:
        """The distribution of the actors."""
        head = self.model.head
        assert isinstance(head, SoftHead)
        return head

    @property
    def temperature(self) -> Tensor:
        """[P, 1, 1]."""
        return self.log_temperature.exp()

    @property
    def scale(self) -> Tensor:
        """Unit of every output of the critics [P, outputs]: the root mean square of a step, 0 where none ever paid."""
        steps = self.population.returns
        return self.critics.scales((steps.mean.square() + steps.variance).sqrt().float())

    def _sample(self) -> dict[str, Trajectories]:
        people = self.population
        data = self.source.collect(self.model, people.theta, people.observations, self.generator)
        self.replay.add(data, self.head.kept(data.action))
        self.counted = unseen(people.returns)
        if self.counted:  # no unit was known yet
            self._count(data)
        return {ROLLOUT: data}

    def _estimate(self, data: dict[str, Trajectories]) -> Tensor:
        return self.episodes.update(data[ROLLOUT])

    def _improve(self, data: dict[str, Trajectories], weights: Tensor, rate: float) -> Tensor:
        """Weights are multiplied by the objectives' share of what a typical step is worth by them, so that large
        multipliers do not mean long steps."""
        config = self.config
        self.tally = Tally()
        if len(self.replay) < config.warmup:
            return self._mean(self.tally.objectives)
        steps = data[ROLLOUT].reward.shape[0] * data[ROLLOUT].reward.shape[2]
        count = max(1, round(config.updates * steps))
        weights = weights.float() * self._share(weights, data[ROLLOUT].reward.shape[-1])
        with torch.no_grad():
            for first in range(0, count, CHUNK):
                for sample in self._prepare(min(CHUNK, count - first)):
                    self._update(sample, weights, rate)
        check_parameters(self.theta)
        if self.foresight is not None and self.tally.read:
            unit = self.scale[:, 1 : self.critics.columns]
            self.foresight.expect(*(self._mean(x)[:, 1:] * unit for x in (self.tally.read, self.tally.plain)))
        return self._mean(self.tally.objectives)

    def _share(self, weights: Tensor, m: int) -> Tensor:
        """[P, 1], 1 where objectives weigh nothing."""
        parts = weights.float().abs() * self.scale[:, 1 : self.critics.columns]
        own, total = parts[:, :m].sum(1, keepdim=True), parts.sum(1, keepdim=True)
        return torch.where(own > 0, own / total, 1.0)

    def _mean(self, found: list[Tensor]) -> Tensor:
        """[P], 0 where nothing was found."""
        return torch.stack(found).mean(0) if found else torch.zeros(len(self.population), device=self.theta.device)

    def _prepare(self, count: int) -> Iterator[Sample]:
        """Draw what `count` updates need."""
        config, model, c = self.config, self.model, self.critics
        steps = self.replay.sample(count * config.batch, self.generator)
        by = standard(self.population.observations)
        inputs, following = (
            model.inputs(seen, by, steps.context) for seen in (steps.observation, steps.next_observation)
        )
        paid = c.paid(steps.channels, self.scale)
        go_on = config.gamma * (1 - steps.terminated)
        noise = self.head.draw_noise((2, count, len(paid), config.batch), self.generator)
        rows = (inputs, torch.cat([inputs, steps.action], -1), following, paid, go_on)
        parts = [x.unflatten(1, (count, -1)).movedim(1, 0).unbind(0) for x in rows]
        yield from map(Sample._make, zip(*parts, noise.movedim(1, 0).unbind(0), strict=True))

    def _update(self, sample: Sample, weights: Tensor, rate: float) -> None:
        """One update of critics, actors and target networks."""
        self._criticise(sample, rate)
        self.turn += 1
        if self.turn % self.config.actor_every == 0:
            self.tally.objectives.append(self._act(sample, weights, rate))
        self.late.lerp_(self.theta, self.config.polyak)

    def _criticise(self, sample: Sample, rate: float) -> None:
        critics = self.critics
        drawn = self.head.draw(self._outputs(sample.next_inputs)[-1], sample.noise[0])
        future = critics.future(self.late, sample.next_inputs, drawn.action)
        target = critics.target(sample.paid, sample.go_on, future, drawn.log_prob / critics.actions)
        seen = critics.forward(self.theta, sample.pairs)
        if self.foresight is not None:
            self._note(seen.values)
        gradient, error = critics.gradient(seen, target)
        self.tally.errors.append(error)
        self.rules["critics"].step(self.theta, gradient, self.moments["critics"], rate)

    def _note(self, values: Tensor) -> None:
        """Remember what the critics say [P, E, n, outputs] of replayed pairs."""
        self.tally.read.append(self.critics.read(values)[0].mean(1))
        self.tally.plain.append(self.critics.plain(values).mean(1))

    def _outputs(self, inputs: Tensor) -> list[Tensor]:
        """Activations of the actors; the last holds what the head reads."""
        tape = self.model.network.forward(self._layers(), inputs)
        tape[-1] = tape[-1][..., : self.head.outputs]
        return tape

    def _layers(self) -> Layers:
        """Of the actors."""
        return self.model.network.layers(self.population.theta[:, ACTOR], self.config.precision == "bfloat16")

    def _act(self, sample: Sample, weights: Tensor, rate: float) -> Tensor:
        """A step of actors and temperatures; answers the objective [P]."""
        critics, n = self.critics, self.config.batch
        tape = self._outputs(sample.inputs)
        drawn = self.head.draw(tape[-1], sample.noise[1])
        value, pull = critics.judge(self.theta, sample.inputs, drawn.action)
        heat = self.temperature
        slope = (torch.cat([heat.squeeze(-1), weights], 1) * self.scale[:, : critics.columns]).unsqueeze(1)
        objective = (value * slope).sum(-1) - heat.squeeze(-1) * drawn.log_prob
        unit = n * (slope.abs().sum(-1, keepdim=True) + heat)  # of the objective, which Adam's eps must not know
        pulled = pull((slope / unit).expand(value.shape))
        self._climb(tape, drawn.pull(pulled, (-heat / unit).squeeze(-1).expand(drawn.log_prob.shape)), rate)
        self._warm(drawn.log_prob, rate)
        return objective.mean(1)

    def _climb(self, tape: list[Tensor], d_out: Tensor, rate: float) -> None:
        """Move the actors along the gradient of their outputs [P, n, outputs]."""
        network = self.model.network
        d_out = torch.nn.functional.pad(d_out, (0, network.sizes[-1] - d_out.shape[-1]))
        gradient = network.backward(self._layers(), tape, d_out, d_out.new_zeros(len(d_out), 0))
        self._step(gradient.unsqueeze(1), rate)

    def _warm(self, log_prob: Tensor, rate: float) -> None:
        """Raise the temperatures of those actors whose entropy is short of its aim."""
        short = (log_prob.mean(1) + self.head.aim(self.config)).view(-1, 1, 1)
        self.rules["temperature"].step(self.log_temperature, short, self.moments["temperature"], rate)
        self.log_temperature.clamp_(min=COLDEST)

    def _remember(self, data: dict[str, Trajectories]) -> None:
        """Follow observations and the size of steps; the values of the critics stay what they are."""
        if not self.counted:
            self._count(data[ROLLOUT])

    def _count(self, data: Trajectories) -> None:
        """Merge a rollout into the moments. Outputs whose unit was not known stay, in the new one."""
        people, before = self.population, self.scale
        if self.config.normalise and not self.model.features.one_hot:
            seen = self.model.features.numbered(data.observation)
            people.observations = update_moments(people.observations, seen)
        people.returns = update_moments(people.returns, data.channels)
        after = self.scale
        ratio = torch.where((before > 0) & (after > 0), before / after, 1.0)
        for theta in (self.theta, self.late):
            self.critics.rescale(theta, ratio)

    def _report(self) -> dict[str, Tensor]:
        """Temperatures and errors of the critics [P]."""
        return {"temperature": self.temperature.flatten(), "critic_error": self._mean(self.tally.errors)}

    def state_dict(self) -> dict[str, Any]:
        """See Loop.state_dict; the replay included."""
        names = ("theta", "late", "log_temperature", "moments", "turn")
        mine = {name: getattr(self, name) for name in names}
        parts = {name: getattr(self, name).state_dict() for name in ("replay", "episodes")}
        return super().state_dict() | mine | parts

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Loop.load_state_dict."""
        super().load_state_dict(state)
        for name in ("theta", "late", "log_temperature", "moments", "turn"):
            setattr(self, name, state[name])
        self.replay.load_state_dict(state["replay"])
        self.episodes.load_state_dict(state["episodes"])


def soft_population(model: ActorCritic, policies: int, generator: Generator) -> Population:
    """P actors without critics: theta [P, 1, D]. They begin with all actions: equal chances, tanh of normals."""
    theta = model.network.init(policies, generator, 0.01).unsqueeze(1).to(generator.device)
    moments = (fresh_moments(policies, n, generator.device) for n in (model.features.normalised, model.channels))
    return Population(theta, *moments)
