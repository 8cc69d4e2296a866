"""The loop: what it collects, reads, weighs, climbs and remembers, and that it can stop and go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from tradeoff.engine import LearnerConfig, checkpoint
from tradeoff.engine.learner import Learner, Population
from tradeoff.engine.normalisers import scale_of, standard
from tradeoff.engine.returns import gae
from tradeoff.engine.trajectories import Trajectories, fold
from tradeoff.engine.updates import SGD, Adam
from tradeoff.envs.errors import NumericalTrouble

SMALL = LearnerConfig(rollout_steps=7, environments=2, epochs=2, minibatches=3, hidden=(8,), learning_rate=0.01)
WEIGHTS = [[1.0, 0.0, 0.0], [0.0, 1.0, -0.5]]


@pytest.fixture
def learner(clockwork, learner_for):
    """Two policies with two environments each; `build` makes one more."""

    def build(config: LearnerConfig = SMALL, seed: int = 0, weights=WEIGHTS, **parts: Any) -> Learner:
        env = clockwork((3, 4, 2, 6)[: 2 * len(weights)], (True, False, False, True)[: 2 * len(weights)])
        return learner_for(env, weights, config, seed, **parts)

    return build


class Replay:
    """The same stored trajectories over and over."""

    def __init__(self, data: Trajectories) -> None:
        self.data = data

    def collect(self, *_: Any) -> Trajectories:
        return self.data

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def _bytes(learner: Learner) -> bytes:
    return learner.population.theta.numpy().tobytes()


def test_one_seed_one_result_bit_for_bit(learner) -> None:
    runs = []
    for seed in (0, 0, 1):
        one = learner(seed=seed)
        objective = torch.stack([one.iterate()["objective"] for _ in range(3)])
        runs.append((_bytes(one), objective.numpy().tobytes()))
    assert runs[0] == runs[1] and runs[0][0] != runs[2][0]
    assert len(runs[0][0]) == 4 * learner().population.theta.numel()


def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(learner, tmp_path: Path) -> None:
    straight, numbers = learner(), []
    for _ in range(3):
        straight.iterate()
    checkpoint.save(tmp_path / "x.pt", {"learner": straight.state_dict(), "rng": straight.generator.get_state()})
    numbers.append([torch.cat([r["objective"], r["returns"].flatten()]) for r in (straight.iterate() for _ in "123")])

    resumed, state = learner(seed=99), checkpoint.load(tmp_path / "x.pt")
    resumed.load_state_dict(state["learner"])
    resumed.generator.set_state(state["rng"])
    numbers.append([torch.cat([r["objective"], r["returns"].flatten()]) for r in (resumed.iterate() for _ in "123")])
    assert torch.equal(torch.stack(numbers[0]), torch.stack(numbers[1]))
    checkpoint.save(tmp_path / "a.pt", straight.state_dict())
    checkpoint.save(tmp_path / "b.pt", resumed.state_dict())
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_advantages_and_targets_of_a_batch(learner) -> None:
    # Channels apart: plain GAE. Weighted: (A w - mean) / std per policy. Targets: A + V, in the normaliser's unit.
    one = learner()
    one.iterate()
    data, people, weights = one._collect(one.population.theta), one.population, torch.tensor(WEIGHTS)
    seen = [(x - people.observations.mean.float().unsqueeze(1)) for x in (data.observation, data.next_observation)]
    inputs = [(x / scale_of(people.observations).float().unsqueeze(1)).clamp(-10, 10) for x in seen]
    value, beyond = (
        torch.stack([one.model.values(people.theta, x[t], people.returns) for t in range(7)]) for x in inputs
    )
    batch = one._normalised({"current": one.prepare(data, weights)})["current"]
    want = gae(data.channels, value, beyond, data.terminated, data.truncated, 0.995, 0.95)
    torch.testing.assert_close(batch.advantages, fold(want), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(batch.inputs, fold(inputs[0]), rtol=1e-5, atol=1e-5)
    weighted = torch.einsum("pnc,pc->pn", batch.advantages, weights)
    centred = weighted - weighted.mean(1, keepdim=True)
    torch.testing.assert_close(batch.advantage, centred / centred.square().sum(1, keepdim=True).div(13).sqrt())
    units = scale_of(people.returns).unsqueeze(1), people.returns.mean.unsqueeze(1)
    torch.testing.assert_close(batch.target * units[0] + units[1], fold(want + value).double(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        one.model.values(people.theta, fold(inputs[0]), people.returns), fold(value), rtol=1e-4, atol=1e-4
    )


def test_one_pass_over_one_part_is_a_step_along_the_policy_gradient(learner) -> None:
    config = replace(SMALL, epochs=1, minibatches=1, max_norm=1e9, normalise=False)
    one, twin = learner(config, update=SGD(0.5)), learner(config)
    data = twin._collect(twin.population.theta)
    batch = twin._normalised({"current": twin.prepare(data, torch.tensor(WEIGHTS))})["current"]
    theta = twin.population.theta.clone().requires_grad_()
    score = (twin.model.log_prob(theta, batch.inputs, batch.action) * batch.advantage).mean(1).sum()
    outputs = twin.model.network.forward(twin.model.network.layers(theta[:, 1]), batch.inputs)[-1]
    (score - 0.5 * (batch.target - outputs).square().sum(-1).mean(1).sum()).backward()
    one.iterate()
    torch.testing.assert_close(one.population.theta, theta.detach() + 0.5 * theta.grad, rtol=1e-5, atol=1e-6)


def test_policies_that_see_the_same_do_the_same_however_many_they_are(learner) -> None:
    single = learner(weights=WEIGHTS[1:])
    data = single._collect(single.population.theta)
    tripled = Trajectories(*(x.expand(-1, 3, *x.shape[2:]) for x in data))
    people = single.population[[0, 0, 0]]
    single.source = Replay(data)
    several = Learner(
        single.model, Replay(tripled), people, type(single.scalarizer)(torch.tensor(WEIGHTS[1:] * 3)), SMALL,
        Generator().manual_seed(0), discount=1.0,
    )  # fmt: skip
    several.generator.set_state(single.generator.get_state())
    before = single.population.theta.clone()
    for _ in range(2):
        single.iterate(), several.iterate()
    assert (single.population.theta - before).abs().max() > 0.01
    torch.testing.assert_close(
        several.population.theta, single.population.theta.expand(3, -1, -1), rtol=1e-4, atol=1e-5
    )


class Ahead:
    """Samples a batch ahead of the parameters, and one at them for the returns alone; remembers the last gradient."""

    def __init__(self) -> None:
        self.last: Tensor | None = None

    def plan(self, theta: Tensor) -> dict[str, Tensor]:
        push = torch.full_like(theta, 0.1) if self.last is None else self.last
        return {"ahead": theta + push, "returns": theta}

    def gradient(self, theta: Tensor, batches: dict[str, Any], oracle: Any) -> Tensor:
        self.last = oracle(theta + 0.1, batches["ahead"])
        return self.last

    def state_dict(self) -> dict[str, Any]:
        return {"last": self.last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.last = state["last"]


def test_an_estimator_gets_the_batches_it_asked_for(learner) -> None:
    one = learner(estimator=Ahead())
    asked, collect = [], one.source.collect

    def listen(model: Any, theta: Tensor, moments: Any, generator: Generator) -> Trajectories:
        by = standard(moments)  # of the moments the rollout used: they move afterwards
        data = collect(model, theta, moments, generator)
        asked.append((theta.clone(), model.inputs(data.observation, by, data.context), data))
        return data

    one.source.collect = listen
    for _ in range(2):
        before = one.population.theta.clone()
        push = 0.1 if one.estimator.last is None else one.estimator.last.clone()
        one.iterate()
        for (theta, inputs, data), at in zip(asked[-2:], (before + push, before), strict=True):
            assert torch.equal(theta, at)
            again = one.model.log_prob(theta, fold(inputs), fold(data.action))
            torch.testing.assert_close(again, fold(data.log_prob))
    assert len(asked) == 4 and (asked[0][0] - asked[1][0]).abs().max() > 0.09


def test_returns_are_read_from_the_batch_that_is_named_for_them(clockwork, learner_for) -> None:
    # Environments of 3 and of 5 steps, two steps per batch, batches ahead, returns, ahead, returns, ...: steps 2, 3,
    # then 6, 7, then 10, 11 are read. Undiscounted first channel: 1 + 2 + 3 = 6 and 1 + ... + 5 = 15.
    #   length 3 ends at 2 (read), 5, 8, 11 (read): always 6.   length 5 ends at 4, 9, 14 (read in the 4th): NaN before.
    config = LearnerConfig(rollout_steps=2, environments=1, epochs=1, minibatches=1, hidden=(4,))
    one = learner_for(clockwork((3, 5)), WEIGHTS, config, estimator=Ahead())
    seen = torch.stack([one.iterate()["returns"][:, 0] for _ in range(4)])
    want = torch.tensor([[6, torch.nan], [6, torch.nan], [6, torch.nan], [6, 15]])
    torch.testing.assert_close(seen, want, equal_nan=True)


def test_stored_trajectories_can_be_learned_from(learner) -> None:
    one = learner(LearnerConfig(**{**vars(SMALL), "epochs": 1, "minibatches": 1, "normalise": False}))
    data = one._collect(one.population.theta)
    one.source = Replay(data)
    first, second = (one.iterate() for _ in range(2))
    # At the behaviour's own parameters the objective is the mean of a standardised advantage: 0. Afterwards it is not.
    assert first["objective"].abs().max() < 1e-6 < 1e-3 < second["objective"].min()
    assert torch.equal(one.source.data.log_prob, data.log_prob)


def test_weights_are_asked_for_before_the_rule_moves(learner) -> None:
    class Price:
        """Weights (1, 0, -calls): every update raises the price by one."""

        def __init__(self) -> None:
            self.price, self.seen = 0, []

        def weights(self, returns: Tensor) -> Tensor:
            self.seen.append(("weights", returns))
            return torch.tensor([[1.0, 0.0, -self.price]]).expand(2, 3)

        def update(self, returns: Tensor) -> None:
            self.seen.append(("update", returns))
            self.price += 1

    one = learner(scalarizer=Price())
    reports = [one.iterate() for _ in range(3)]
    assert [report["weights"][0, 2].item() for report in reports] == [0, -1, -2]
    assert [name for name, _ in one.scalarizer.seen] == ["weights", "update"] * 3
    for report, (_, returns) in zip(reports, one.scalarizer.seen[1::2], strict=True):
        assert torch.equal(report["returns"], returns)


def test_actors_and_critics_may_move_by_rules_of_their_own(learner) -> None:
    # Adam moves every number by itself: two of them do what one does, but for the last bit of its vector arithmetic.
    whole, parts = learner(update=Adam(0.01)), learner(update=Adam(0.01), critic_update=Adam(0.01))
    for _ in range(3):
        whole.iterate(), parts.iterate()
    torch.testing.assert_close(parts.population.theta, whole.population.theta, rtol=1e-5, atol=1e-6)
    still = learner(update=SGD(0.1), critic_update=SGD(0.0))
    still.iterate()  # before there is data values have no unit that could be kept
    critics = [still.model.values(still.population.theta, torch.ones(2, 1, 2), still.population.returns)]
    actors = still.population.theta[:, 0].clone()
    still.iterate()
    critics.append(still.model.values(still.population.theta, torch.ones(2, 1, 2), still.population.returns))
    torch.testing.assert_close(critics[1], critics[0], rtol=1e-4, atol=1e-4)
    assert (still.population.theta[:, 0] - actors).abs().max() > 1e-4


def test_the_rate_multiplies_the_learning_rate(learner) -> None:
    half, quarter = learner(update=SGD(0.5)), learner(update=SGD(0.25))
    half.iterate(0.5), quarter.iterate()
    assert _bytes(half) == _bytes(quarter) != _bytes(learner(update=SGD(0.5)))


def test_observations_are_remembered_after_the_step(learner) -> None:
    # 7 steps of 2 environments: count 14; the second number is the clock, 0 at first.
    one = learner()
    one.iterate()
    count, mean = one.population.observations.weight, one.population.observations.mean
    torch.testing.assert_close(count, torch.full((2,), 14.0, dtype=torch.float64))
    # Policy 0: clocks 0 1 2 0 1 2 0 and 0 1 2 3 0 1 2: sum 15. Policy 1: 0 1 0 1 0 1 0 and 0 1 2 3 4 5 0: sum 18.
    torch.testing.assert_close(mean[:, 1], torch.tensor([15.0, 18]).double() / 14.0)


def test_a_broken_update_stops_the_run(learner) -> None:
    with pytest.raises(NumericalTrouble, match=r"the loss of policies \[0, 1\] is no longer finite"):
        learner(update=SGD(float("inf"))).iterate()


def test_rows_of_a_population_are_copies_in_the_order_asked_for(learner) -> None:
    people = learner().population
    people.returns.mean[1] = 7.0
    chosen = people[[1, 0, 1]]
    assert len(chosen) == 3 and torch.equal(chosen.theta, people.theta[[1, 0, 1]])
    assert chosen.returns.mean[:, 0].tolist() == [7, 0, 7]
    chosen.theta.zero_(), chosen.returns.mean.zero_()
    assert people.theta.abs().max() > 0.1 and people.returns.mean[1, 0] == 7
    again = Population.from_state(people.state_dict())
    assert torch.equal(again.theta, people.theta) and torch.equal(again.returns.mean, people.returns.mean)
