"""The learned baseline: its targets by hand, its gradient by autograd, what it learns, and that it pays."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from tradeoff.engine.baselines import LearnedBaseline, deviations
from tradeoff.engine.episodes import Episodes, coefficients, mixed, unfold
from tradeoff.engine.normalisers import fresh_moments
from tradeoff.engine.population import Population
from tradeoff.engine.scores import linearise
from tradeoff.engine.updates import Adam

DISCOUNT, WEIGHTS = 0.9, torch.tensor([[0.7, 1.3]])


def _people(world, policies: int) -> Population:
    theta = world.theta.float().repeat(policies, 1, 1)
    return Population(theta, fresh_moments(policies, 1), fresh_moments(policies, 2))


def _drawn(world, policies: int, count: int, seed: int) -> Episodes:
    """Samples in float32, paid 6 more per step in state 1: where one starts to be matters then."""
    data = world.drawn(world.theta, policies, count, Generator().manual_seed(seed))
    rich = unfold(data.inputs[..., 1], len(data.alive)).unsqueeze(-1)
    clock = DISCOUNT ** torch.arange(len(data.alive)).view(-1, 1, 1, 1)
    paid = data.paid + 6 * rich * clock * data.alive.unsqueeze(-1)
    return Episodes(data.inputs.float(), data.action, data.log_prob.float(), paid.float(), data.alive)


def test_targets_by_hand() -> None:
    # Discount 1/2; three episodes paid 4, 2, 8 at first and 2, 0 in unit 1 (that is 4 and 0 in their own) by the two
    # that live on. From the first step on 6, 2, 8: less the others' means 5, 7, 4. At the second step 4 and 0.
    paid = torch.tensor([[[4.0, 2.0, 8.0]], [[2.0, 0.0, 0.0]]]).unsqueeze(-1)
    alive = torch.tensor([[[True, True, True]], [[True, True, False]]])
    seen = Episodes(torch.empty(0), torch.empty(0), torch.empty(0), paid, alive)
    assert deviations(seen, 0.5)[..., 0].tolist() == [[[1.0, -5.0, 4.0]], [[4.0, -4.0, 0.0]]]
    assert deviations(seen._replace(paid=paid[:, :, :1], alive=alive[:, :, :1]), 0.5).abs().max() == 0


def test_the_critics_gradient_is_autograds(world) -> None:
    data, draw = world.drawn(world.theta, 1, 6, Generator().manual_seed(5)), Generator().manual_seed(6)
    target = torch.randn(1, data.inputs.shape[1], 2, generator=draw, dtype=torch.float64)
    mass = (torch.rand(1, data.inputs.shape[1], 1, generator=draw) < 0.7).double()
    leaf = world.theta.clone().requires_grad_()
    values = world.model.network.forward(world.model.network.layers(leaf[:, 1]), data.inputs)[-1]
    loss = ((target - values).square() * mass).sum() / mass.sum()
    want = -torch.autograd.grad(loss, leaf)[0][:, 1]
    torch.testing.assert_close(world.model.critic_gradient(world.theta, data.inputs, target, mass), want)


@pytest.fixture(scope="module")
def learned(world) -> tuple[LearnedBaseline, Population, Episodes]:
    people, data = _people(world, 1), _drawn(world, 1, 500, 7)
    baseline = LearnedBaseline(world.model, people, Adam(1e-2), passes=600)
    baseline.fit(people, data, DISCOUNT)
    return baseline, people, data


def test_it_learns_what_a_state_is_worth_beyond_its_step(world, learned) -> None:
    # Inputs name the state, so that the least squares are the means by state, counted here.
    baseline, people, data = learned
    found = baseline.expected(people, data.inputs, data.alive, 1.0)
    want, state = deviations(data, DISCOUNT), unfold(data.inputs, len(data.alive)).argmax(-1)
    for s in range(3):
        here = (state == s) & data.alive
        torch.testing.assert_close(found[here].mean(0), want[here].mean(0), atol=0.03, rtol=0)
    assert (found[~data.alive] == 0).all()
    later = baseline.expected(people, data.inputs, data.alive, DISCOUNT)
    torch.testing.assert_close(later[2], found[2] * DISCOUNT**2)


def test_it_lowers_the_variance_below_the_means(world, learned) -> None:
    baseline, people, _ = learned
    data, theta = _drawn(world, 300, 48, 8), world.theta.float().expand(300, -1, -1)
    crowd = Population(people.theta.repeat(300, 1, 1), *(fresh_moments(300, n) for n in (1, 2)))
    crowd.returns = type(people.returns)(*(x.repeat(300, *[1] * (x.dim() - 1)) for x in people.returns))
    promise = mixed(baseline.expected(crowd, data.inputs, data.alive, DISCOUNT), WEIGHTS.expand(300, -1))
    _, pull = linearise(world.model, theta, data)
    reward = mixed(data.paid, WEIGHTS.expand(300, -1))

    def spread(kind: str) -> Tensor:
        return pull(coefficients(reward, data.alive, baseline=kind, expected=promise)).var(0).sum()

    assert spread("learned") < 0.85 * spread("mean")


def test_it_wants_to_be_told(world) -> None:
    alive = torch.ones(1, 1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="expected of each state"):
        coefficients(torch.ones(1, 1, 2), alive, baseline="learned")
    told = coefficients(torch.tensor([[[5.0, 1.0]]]), alive, baseline="learned", expected=torch.tensor([[[3.0, 1.0]]]))
    assert told.flatten().tolist() == [2.0, -2.0]  # 5 - 3 = 2 and 1 - 1 = 0, each less the other's
