"""Fresh episodes of a run's policies, and what their gradients say of its batch, its baseline and its steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.checkpoint import numbered
from tradeoff.engine.diagnostics import (
    Interval,
    Seconds,
    blend_gain,
    correlation,
    cosines,
    critical_batch,
    interval,
    resamples,
    second_moments,
    signal_to_noise,
)
from tradeoff.engine.episodes import Baseline, Channels, Episodes, alive_steps, discounted, unfold
from tradeoff.engine.episodic import EpisodeSource, EpisodicLearner
from tradeoff.engine.learner import Learner
from tradeoff.engine.normalisers import standard
from tradeoff.engine.population import Population
from tradeoff.engine.probes import effective_share, per_trajectory, weights_at
from tradeoff.engine.rollout import Rollout
from tradeoff.engine.run import Run
from tradeoff.engine.trajectories import Trajectories, fold
from tradeoff.engine.updates import norms
from tradeoff.envs.errors import NumericalTrouble
from tradeoff.errors import BadInput
from tradeoff.run import restored
from tradeoff.settings import read_settings
from tradeoff.trust import check_trusted
from tradeoff.verdicts import on_baseline, on_batch, on_carriers, on_conflict, on_memory

SAMPLES = 300  # bootstrap samples of every interval
BASELINES: tuple[Baseline, ...] = ("none", "mean", "optimal", "learned")
LEAST = 10  # episodes; fewer make no interval
BATCHES = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)  # episodes per step, of the curves
LARGEST = 2**28  # numbers in the gradients of all episodes and channels: 1 GiB


class Subject(NamedTuple):
    """The policies of a run as it last stood, and the step it would take next."""

    run: Run
    model: ActorCritic
    rows: list[int]  # of the run's population
    people: Population  # [P]
    after: Tensor  # theta [P, 2, D] one turn of the loop later
    weights: Tensor  # [P, c] on the channels in that turn
    discount: float  # of what is climbed
    channels: Channels
    own: Baseline
    batch: float  # of a turn: episodes, or steps where `in_steps`
    in_steps: bool
    critics: bool  # whether the critics were trained
    centre: bool  # whether weighted sums have the others' pay at every step taken off
    steps: int  # real environment steps that the turn took


class Findings(NamedTuple):
    """What the episodes of one policy say; every Seconds has the estimate first and bootstrap samples behind it."""

    by_baseline: dict[str, Seconds]  # of the channels
    pair: Seconds | None  # aim at the parameters before and after a step; None where weights overflow
    share: dict[str, Interval]  # effective share of the episodes: mean over steps, whole trajectories; none likewise
    carriers: float  # (sum of |g|^2)^2 / sum of |g|^4 of the aim's gradients
    length: float  # mean steps of an episode


def open_subject(folder: Path, policies: int, trust_code: bool = False) -> Subject:
    """At most so many policies of a run, spread evenly, from its newest checkpoint, after one more turn in memory.

    trust_code: let a folder that names code (`module:name`) import and run it.
    Raises: NotARun, Untrusted, BadInput, CheckpointError as `resume`; BadInput for a run without a policy gradient.
    """
    settings = read_settings(folder)
    check_trusted(settings.config.env, trust_code, folder)
    if not numbered(folder):
        raise BadInput(f"{folder} holds no checkpoint yet; `tradeoff resume {folder}` brings it to one")
    run, _ = restored(settings, settings, folder)
    learner: Any = getattr(run, "learner", None)
    known = isinstance(learner, (Learner, EpisodicLearner)) and type(learner.source) in (Rollout, EpisodeSource)
    if not known or learner.model.context:
        raise BadInput(f"{settings.config.name} climbs no policy gradient of whole policies that could be diagnosed")
    count = len(learner.population)
    rows = torch.linspace(0, count - 1, min(policies, count)).round().long().tolist()
    before, taken = learner.population[rows], learner.source.taken
    record = learner.iterate(_usual_rate(run))
    after, weights = learner.population.theta[rows].clone(), record["weights"][rows]
    steps = learner.source.taken - taken
    return Subject(run, learner.model, rows, before, after, weights, **_habits(learner), steps=steps)


def _usual_rate(run: Run) -> float:
    """Factor of the learning rates half way through the run."""
    rate = getattr(run.config, "rate", None)
    return float(rate(0.5)) if rate is not None else 0.5 if run.config.learner.anneal else 1.0


def _habits(learner: Any) -> dict[str, Any]:
    """How a learner estimates gradients: discount, channels, baseline, batch."""
    if isinstance(learner, Learner):
        config = learner.config
        steps = float(config.rollout_steps * config.environments)
        habits = {"discount": config.gamma, "channels": _own_channels, "own": "learned", "batch": steps}
        return habits | {"in_steps": True, "critics": True, "centre": False}
    settings, critics = learner.estimator.settings, learner.baseline is not None
    habits = {"discount": learner.discount, "channels": learner.channels, "own": settings.baseline}
    habits |= {"batch": float(settings.batch), "centre": settings.centre}
    return habits | {"in_steps": False, "critics": critics}


def _own_channels(data: Trajectories) -> Tensor:
    return data.channels


def play_one(subject: Subject, row: int, episodes: int, generator: Generator) -> tuple[Episodes, int]:
    """Fresh whole episodes of one policy, sampled as in training, and the real steps they took."""
    person = subject.people[[row]]
    source = EpisodeSource(subject.run.make_env, 1)
    try:
        data = source.collect(subject.model, person.theta, person.observations, generator, episodes)
    finally:
        source.close()
    alive, by = alive_steps(data.ended), standard(person.observations)
    inputs = fold(subject.model.inputs(data.observation, by, data.context))
    paid = discounted(subject.channels(data), alive, subject.discount)
    expected = None
    if subject.critics:
        values = unfold(subject.model.values(person.theta, inputs, person.returns), len(alive))
        expected = discounted(values, alive, subject.discount)
    return Episodes(inputs, fold(data.action), data.log_prob, paid, alive, expected), source.taken


def examine(subject: Subject, row: int, episodes: Episodes, generator: Generator) -> Findings:
    """Moments of the gradients of one policy's episodes under every baseline, and against those a step away."""
    model, theta, after = subject.model, subject.people.theta[[row]], subject.after[[row]]
    count, channels = episodes.alive.shape[2], episodes.paid.shape[-1]
    if count * channels * model.network.parameters > LARGEST:
        most = LARGEST // (channels * model.network.parameters)
        raise BadInput(f"{count} episodes x {channels} channels take too much memory; --episodes {most} is the most")
    counts = resamples(count, SAMPLES, generator)
    by_baseline, aim = {}, torch.empty(0)
    for kind in BASELINES if subject.critics else BASELINES[:-1]:
        gradients = per_trajectory(model, theta, episodes, kind)
        by_baseline[str(kind)] = second_moments(gradients, counts)
        if kind == subject.own:
            aim = _weighed(gradients, subject.weights[row])
    squares = aim.double().square().sum(-1)
    carriers = float(squares.sum().square() / squares.square().sum().clamp_min(1e-300))
    rest = carriers, float(episodes.alive.sum(0, dtype=torch.float64).mean())
    try:
        omega = weights_at(model, after, episodes)
    except NumericalTrouble:
        return Findings(by_baseline, None, {}, *rest)
    if subject.centre:
        aim = _weighed(per_trajectory(model, theta, episodes, subject.own, centre=True), subject.weights[row])
    back = _weighed(per_trajectory(model, after, episodes, subject.own, omega, subject.centre), subject.weights[row])
    pair = second_moments(torch.stack([aim, back], 1), counts)
    seen = effective_share(omega[:, 0], counts)
    share = {"per_step": interval(seen.mean(1)), "whole": interval(seen[:, -1])}
    return Findings(by_baseline, pair, share, *rest)


def _weighed(gradients: Tensor, weights: Tensor) -> Tensor:
    return torch.einsum("bcd,c->bd", gradients, weights.to(gradients))


def report(subject: Subject, row: int, found: Findings, episodes: int) -> dict[str, Any]:
    """All of it by name, as intervals and words; episodes: that were looked at."""
    names, weights = channel_names(subject), subject.weights[row]
    batch = subject.batch / found.length if subject.in_steps else subject.batch
    own = found.by_baseline[subject.own]
    aim = own.mixed(weights)
    angles = cosines(own)
    gains = {kind: _gain(own.mixed(weights), other.mixed(weights), 0) for kind, other in found.by_baseline.items()}
    memory: dict[str, Interval] = {}
    if found.pair is not None:
        memory["correlation"] = interval(correlation(found.pair), least=-1, most=1)
        memory["gain"] = interval(blend_gain(found.pair), least=1)
    known = {
        (names[i], names[j]): interval(angles[:, i, j], least=-1, most=1) for i in range(len(names)) for j in range(i)
    }
    verdict = [
        on_batch(interval(critical_batch(aim)[:, 0], least=0), batch, episodes),
        on_baseline(subject.own, {kind: gain for kind, gain in gains.items() if kind != subject.own}),
        on_memory(memory.get("gain"), found.share.get("whole")),
        on_conflict(known),
    ]
    nothing = on_carriers(found.carriers, episodes)
    return {
        "weights": dict(zip(names, weights.tolist(), strict=True)), "episode_length": found.length, "batch": batch,
        "baseline": subject.own, "aim": strength(aim, 0, batch),
        "channels": {name: strength(own, i, batch) for i, name in enumerate(names)},
        "cosines": {
            one: {other: interval(angles[:, i, j], least=-1, most=1) for j, other in enumerate(names)}
            for i, one in enumerate(names)
        },
        "baselines": {
            kind: {"aim": gains[kind]} | {name: _gain(own, other, i) for i, name in enumerate(names)}
            for kind, other in found.by_baseline.items()
        },
        "step": {"length": float(norms(subject.after[[row]] - subject.people.theta[[row]])), "share": found.share},
        "carriers": found.carriers, "memory": memory, "verdict": verdict if nothing is None else [nothing],
    }  # fmt: skip


def channel_names(subject: Subject) -> list[str]:
    """Objectives, costs, and channels that a method adds."""
    known = [*subject.run.spec.objectives, *subject.run.spec.costs]
    return known + [f"channel {i}" for i in range(len(known), subject.weights.shape[1])]


def strength(seconds: Seconds, i: int, batch: float) -> dict[str, Any]:
    """Signal, noise and what they make of batches, of one channel."""
    batches = [batch, *BATCHES]
    ratio = signal_to_noise(seconds, torch.tensor(batches))[:, i]
    return {
        "squared_length": interval(seconds.signal[:, i, i]), "variance": interval(seconds.noise[:, i, i].clamp_min(0)),
        "signal_to_noise": interval(ratio[:, 0], least=0),
        "critical_batch": interval(critical_batch(seconds)[:, i]),
        "curve": {n: interval(ratio[:, j], least=0) for j, n in enumerate(BATCHES, 1)},
    }  # fmt: skip


def _gain(own: Seconds, other: Seconds, i: int) -> Interval:
    """Noise under the run's own baseline over noise under another one."""
    return interval(own.noise[:, i, i].clamp_min(0) / other.noise[:, i, i].clamp_min(0), least=0)


def diagnose(folder: Path, *, policies: int, episodes: int, seed: int, trust_code: bool = False) -> dict[str, Any]:
    """The diagnosis of a run as plain values: intervals are (value, low, high).

    policies: at most so many, spread evenly. episodes: fresh ones per policy. seed: of the episodes and the bootstrap.
    Raises: as `open_subject`; BadInput for numbers that do not fit.
    """
    if policies < 1 or episodes < LEAST or seed < 0:
        raise BadInput(
            f"policies must be at least 1, episodes at least {LEAST} and seed at least 0, "
            f"got {policies}, {episodes} and {seed}"
        )
    subject, generator = open_subject(folder, policies, trust_code), Generator().manual_seed(seed)
    found, steps = [], subject.steps
    for row in range(len(subject.people)):
        data, taken = play_one(subject, row, episodes, generator)
        found.append(report(subject, row, examine(subject, row, data, generator), episodes))
        steps += taken
    config, run = subject.run.config, subject.run
    return {
        "run_seed": config.seed, "trained": run.total,
        "env": config.env, "method": config.name, "episodes": episodes, "seed": seed, "discount": subject.discount,
        "rows": subject.rows, "real_environment_steps": steps, "confidence": 0.95, "policies": found,
    }  # fmt: skip
