"""Learning from whole episodes: what is played and counted, that J and gradient are right, and that a run can go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from tradeoff.engine import Linear, checkpoint
from tradeoff.engine.compositions import Composition, gpomdp, n_harpg, n_pg_igt, page_pg, storm_pg, tsivr
from tradeoff.engine.episodes import occupancy_channels
from tradeoff.engine.episodic import EpisodeSource, EpisodicLearner, episodic_learner
from tradeoff.engine.estimators import RETURNS
from tradeoff.engine.natural import natural
from tradeoff.engine.normalisers import fresh_moments
from tradeoff.engine.recursion import GRADIENT
from tradeoff.engine.updates import Polyak
from tradeoff.envs import finite_arrays, make_tabular
from tradeoff.envs.errors import TradeoffError
from tradeoff.morl import SER, SERScalarizer
from tradeoff.morl.utilities import harmonic

ONES = [[1.0, 1.0, -0.1], [0.2, 1.0, 0.0]]


def _learner(corridor, made: Composition, weights=ONES, seed: int = 0, **parts: Any) -> EpisodicLearner:
    """The corridor: two rewards, one cost, episodes of 2 to 20 steps."""
    generator = Generator().manual_seed(seed)
    return episodic_learner(
        lambda n, s: corridor(n), Linear(torch.tensor(weights)), made, generator,
        policies=len(weights), hidden=(8,), **{"discount": 0.9} | parts,
    )  # fmt: skip


def test_episodes_are_whole_and_every_step_is_counted(clockwork, model_for) -> None:
    # Episodes of 3, 4, 2 and 6 steps by two policies: six steps are played, 15 of the 24 belong to an episode.
    made: list[Any] = []

    def build(n: int, seed: int) -> Any:
        made.append(clockwork((3, 4, 2, 6)[:n], (True, False, False, True)[:n]))
        return made[-1]

    source = EpisodeSource(build, policies=2)
    model = model_for(clockwork((3,)))
    theta, draw = torch.zeros(2, 2, model.network.parameters), Generator().manual_seed(0)
    moments = fresh_moments(2, 2)
    data = source.collect(model, theta, moments, draw, episodes=2)
    assert data.reward.shape == (6, 2, 2, 2)
    assert source.counts == {"episodes": 4, "steps": 15, "idle": 9}
    seed = int(torch.randint(2**31 - 1, (), generator=Generator().manual_seed(0)))
    assert made[0].seeds == seed, "a fresh reset, from the run's own generator"
    source.collect(model, theta, moments, draw, episodes=2)
    assert len(made) == 1 and made[0].seeds != seed, "environments are kept, episodes are not"
    source.collect(model, theta, moments, draw, episodes=1)
    assert len(made) == 2 and source.counts == {"episodes": 10, "steps": 37, "idle": 19}
    source.close()
    assert all(env.closed for env in made)


def test_returns_and_the_objective_by_hand(clockwork) -> None:
    # Step c pays c and -2 and costs 10 c; discount 1/2. Three steps: 1 + 2/2 + 3/4, -2 (1 + 1/2 + 1/4), ten times the
    # first. Two steps: 1 + 2/2, -2 (1 + 1/2), 20.
    one = episodic_learner(
        lambda n, s: clockwork((3, 2)[:n]), Linear(torch.tensor([[1.0, 2.0, -0.5]])), gpomdp(0.0, 2, separate=False),
        Generator().manual_seed(0), hidden=(4,), normalise=False, discount=0.5,
    )  # fmt: skip
    record = one.iterate()
    assert record["returns"][0].tolist() == [(2.75 + 2) / 2, -(3.5 + 3) / 2, (27.5 + 20) / 2]
    assert record["objective"].item() == 2.375 - 2 * 3.25 - 0.5 * 23.75
    assert record["gradient_norm"].shape == (1,) and record["eta"].tolist() == [1.0]


def test_polyak_steps_read_the_utility_not_the_weighted_returns(clockwork) -> None:
    # One step pays 1 and -2: J = (1, -2). f = -1 / (J_1 + 1) - 1 / (J_2 + 3) = -3/2 has the slope (1/4, 1), w.J = -7/4.
    # From f the known optimum of -1 is 1/2 away, and the step 1/2 g / |g|^2; -7/4 would make it 3/4 g / |g|^2.
    scalarizer = SERScalarizer(SER(harmonic(1.0, (1.0, 3.0))), 2)
    one = episodic_learner(
        lambda n, s: clockwork((1,) * n), scalarizer, Composition(gpomdp(1.0, 6).estimator, Polyak(1e9, optimum=-1.0)),
        Generator().manual_seed(0), hidden=(4,), normalise=False, discount=1.0,
    )  # fmt: skip
    before = one.population.theta.clone()
    record = one.iterate()
    assert record["objective"].item() == pytest.approx(-1.5)
    assert one.update_states[0]["value"].item() == pytest.approx(-1.5)
    length = (one.population.theta - before).norm().item()
    assert length * record["gradient_norm"].item() == pytest.approx(0.5, rel=1e-3)


def test_roles_get_as_many_episodes_as_they_ask_for_and_none_is_shared(corridor) -> None:
    one = _learner(corridor, tsivr(0.1, 0.1, checkpoint=6, batch=3, period=2))
    before = one.source.counts["episodes"]
    sizes = []
    for _ in range(3):
        data = one._sample()
        sizes.append([batch.alive.shape[2] for batch in data.values()])
        assert list(data) == [GRADIENT, RETURNS]
        assert not torch.equal(data[GRADIENT].action, data[RETURNS].action)
        one._estimate(data)
        one._improve(data, torch.tensor(ONES), 1.0)
        assert (one.estimator.memory["theta"] != one.population.theta).any(), "what is remembered is where it stood"
    assert sizes == [[6, 6], [3, 3], [6, 6]]
    assert one.source.counts["episodes"] - before == 2 * 2 * (6 + 3 + 6)


def test_only_roles_of_the_same_parameters_are_played_together(corridor, monkeypatch) -> None:
    one = _learner(corridor, n_harpg(0.1, 4, curvature=3))
    one.iterate()
    played, collect = [], one._collect
    monkeypatch.setattr(one, "_collect", lambda theta, n: played.append((theta, n)) or collect(theta, n))
    before, now = one.estimator.memory["theta"].clone(), one.population.theta.clone()
    one.iterate()
    assert [n for _, n in played] == [8, 6] and played[0][0] is one.population.theta
    share = (played[1][0] - before).norm() / (now - before).norm()
    assert 0.01 < share < 0.99


def test_a_step_climbs_the_gradient_of_autograd(corridor) -> None:
    one = _learner(corridor, gpomdp(0.5, 7, separate=False))
    theta = one.population.theta.clone()
    state = one.generator.get_state()
    one.iterate()
    moved = one.population.theta - theta
    one.population.theta.copy_(theta)
    one.generator.set_state(state)
    data = one._collect(theta, 7)
    leaf, total = theta.clone().requires_grad_(), 0
    seen = one.prepare(data)
    log_prob = one.model.log_prob(leaf, seen.inputs, seen.action).unflatten(1, (-1, 7))
    for p in range(2):
        for b in range(7):
            end = int(data.ended[:, p, b].long().argmax()) + 1
            paid = (data.channels[:end, p, b] @ torch.tensor(ONES[p])) * 0.9 ** torch.arange(end)
            for t in range(end):
                total = total + log_prob[p, t, b] * paid[t:].sum() / 7
    (want,) = torch.autograd.grad(total, leaf)
    torch.testing.assert_close(moved, 0.5 * want, rtol=1e-4, atol=1e-6)
    assert (moved[:, 1] == 0).all() and moved.abs().max() > 0.01


MADE = {
    "tsivr": lambda: tsivr(0.5, 0.2, 6, 3, 2, lag=True),
    "storm-pg": lambda: storm_pg(0.1, 4, 0.5, baseline="optimal"),
    "page-pg": lambda: page_pg(0.1, 6, 3, 0.5, baseline="mean"),
    "n-harpg": lambda: n_harpg(0.1, 4, curvature=3),
    "learned baseline": lambda: tsivr(0.5, 0.2, 6, 3, 2, baseline="learned"),
    "n-pg-igt": lambda: n_pg_igt(0.1, 4),
    "polyak": lambda: Composition(gpomdp(1.0, 4).estimator, Polyak(1.0, margin=0.1)),
}


@pytest.mark.parametrize("name", MADE)
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(corridor, name, tmp_path: Path) -> None:
    def ends(one: EpisodicLearner) -> Tensor:
        return torch.cat([torch.cat([r.flatten() for r in one.iterate().values()]) for _ in range(3)])

    straight = _learner(corridor, MADE[name]())
    for _ in range(3):
        straight.iterate()
    checkpoint.save(tmp_path / "x.pt", {"learner": straight.state_dict(), "rng": straight.generator.get_state()})
    first = ends(straight)
    resumed, state = _learner(corridor, MADE[name](), seed=9), checkpoint.load(tmp_path / "x.pt")
    resumed.load_state_dict(state["learner"])
    resumed.generator.set_state(state["rng"])
    assert torch.equal(first, ends(resumed))
    assert torch.equal(straight.population.theta, resumed.population.theta)
    assert straight.source.counts == resumed.source.counts
    checkpoint.save(tmp_path / "a.pt", straight.state_dict())
    checkpoint.save(tmp_path / "b.pt", resumed.state_dict())
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_the_normaliser_is_fixed_before_the_first_step_and_stays(clockwork) -> None:
    # Otherwise the same parameters would be another policy, and what was remembered of them void.
    build = lambda n, s: clockwork([3] * n)  # noqa: E731
    scalarizer, draw = Linear(torch.ones(1, 3)), Generator().manual_seed(0)
    one = episodic_learner(build, scalarizer, storm_pg(0.1, 2, 0.5), draw, hidden=(4,))
    assert one.source.counts["episodes"] == 16
    # The environment's number runs from 0 to 15, the clock through 0, 1, 2.
    torch.testing.assert_close(
        one.population.observations.mean[0], torch.tensor([7.5, 1.0]).double(), atol=1e-4, rtol=0
    )
    before = one.population.observations
    one.iterate()
    assert one.population.observations is before
    raw = episodic_learner(build, scalarizer, storm_pg(0.1, 2, 0.5), draw, hidden=(4,), normalise=False)
    assert raw.source.counts["episodes"] == 0


def test_the_occupancy_is_a_return_like_any_other() -> None:
    # 0 -> 1 -> 2 -> 2 ... whatever is done, three steps, discount 1/2: 1, 1/2 and 1/4 in the states 0, 1, 2.
    step = np.zeros((3, 2, 3))
    step[0, :, 1] = step[1, :, 2] = step[2, :, 2] = 1.0
    one = episodic_learner(
        lambda n, s: make_tabular(finite_arrays(step, np.zeros((3, 2, 1)), horizon=3), n, seed=s),
        Linear(torch.tensor([[1.0, 0, 0, 0, 0, 0]])), gpomdp(5.0, 50, separate=False), Generator().manual_seed(0),
        channels=occupancy_channels(3, 2), discount=0.5,
    )  # fmt: skip
    for _ in range(20):
        occupancy = one.iterate()["returns"].view(3, 2)
    torch.testing.assert_close(occupancy.sum(1), torch.tensor([1.0, 0.5, 0.25]))
    assert occupancy[0, 0] > 0.95, "action 0 in state 0 was what was paid for"


def test_a_natural_step_is_the_plain_one_through_the_inverse_of_the_fisher_matrix(corridor) -> None:
    plain, curved = (_learner(corridor, gpomdp(1.0, 20), **parts) for parts in ({}, {"precondition": natural(1e6, 3)}))
    starts = [one.population.theta.clone() for one in (plain, curved)]
    for one in (plain, curved):
        one.iterate()
    moves = [one.population.theta - start for one, start in zip((plain, curved), starts, strict=True)]
    # With a damping of 1e6 nothing but the damping counts.
    torch.testing.assert_close(moves[1] * 1e6, moves[0], rtol=0.05, atol=0.02)
    assert moves[0].norm() > 0.05


def test_an_episode_that_never_ends_is_an_error(clockwork, monkeypatch) -> None:
    import tradeoff.engine.episodic

    monkeypatch.setattr(tradeoff.engine.episodic, "PATIENCE", 30)
    with pytest.raises(TradeoffError, match="an episode of clockwork has not ended in 30 steps"):
        episodic_learner(
            lambda n, s: clockwork([1000] * n), Linear(torch.ones(1, 3)), gpomdp(0.1, 2), Generator().manual_seed(0)
        )


@pytest.mark.parametrize("name", ["tsivr", "storm-pg", "n-harpg", "n-pg-igt"])
def test_every_kind_of_transport_learns_to_walk_right(corridor, name) -> None:
    # Two steps to the right pay 1, discounted once: 0.9; a random walk gets there half the time at best.
    made = {
        "tsivr": lambda: tsivr(3.0, 0.3, 40, 10, 4),
        "storm-pg": lambda: storm_pg(3.0, 20, 0.3),
        "n-harpg": lambda: n_harpg(1.0, 20, separate=False),
        "n-pg-igt": lambda: n_pg_igt(1.0, 20, separate=False),
    }[name]()
    one = _learner(corridor, made, [[1.0, 0.0, 0.0]])
    returns = torch.stack([one.iterate()["returns"][0, 0] for _ in range(60)])
    assert returns[0] < 0.6 and returns[-5:].mean() > 0.8
