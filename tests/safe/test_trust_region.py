"""Steps in a ball of divergence against convex programs, explicit Fisher matrices and hand arithmetic."""

from __future__ import annotations

import cvxpy
import numpy as np
import pytest
import torch

from tradeoff.engine.actor_critic import ACTOR, ActorCritic
from tradeoff.engine.features import Features
from tradeoff.engine.heads import Categorical, Gaussian
from tradeoff.engine.trajectories import Batch
from tradeoff.safe.quadratic_model import Local, cpo_step, pcpo_step, recovery_step, trpo_step
from tradeoff.safe.trust_region import Ball, curvature, line_search, local_problem

DIMENSIONS = 5


def _local(seed, j, c=None, policies=1, radius=0.1):
    """Random problems with a random metric; and the metrics [P, D, D]."""
    draw = torch.Generator().manual_seed(seed)
    random = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64)  # noqa: E731
    root = random(policies, DIMENSIONS, DIMENSIONS)
    metric = root @ root.mT + 0.5 * torch.eye(DIMENSIONS)
    g, b = random(policies, DIMENSIONS), random(policies, j, DIMENSIONS)
    c = 0.5 * random(policies, j) if c is None else torch.tensor(c, dtype=torch.float64).expand(policies, j)
    solve = lambda x: torch.linalg.solve(metric, x.mT).mT  # noqa: E731
    return Local(g, b, c, solve(g.unsqueeze(1)).squeeze(1), solve(b), radius), metric


def _program(local, metric, objective):
    """cvxpy's solution of the problem of policy 0, or None where there is none."""
    x = cvxpy.Variable(DIMENSIONS)
    root = np.linalg.cholesky(metric[0].numpy()).T
    inside = cvxpy.sum_squares(root @ x) <= 2 * local.radius
    limits = [local.b[0].numpy() @ x + local.c[0].numpy() <= 0]
    if objective == "climb":
        problem = cvxpy.Problem(cvxpy.Maximize(local.g[0].numpy() @ x), [inside, *limits])
    else:
        away = trpo_step(local)[0].numpy()
        problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(root @ (x - away))), limits)
    problem.solve(solver="CLARABEL")
    return x.value if problem.status == "optimal" else None


@pytest.mark.parametrize("j", [1, 2, 3])
def test_cpo_step_is_the_solution_of_the_convex_program(j) -> None:
    kinds = {"solved": 0, "recovered": 0, "tight": 0}
    for seed in range(12):
        local, metric = _local(seed, j, c=[[1.5] * j] if seed < 2 else None)
        best, found = _program(local, metric, "climb"), cpo_step(local)
        if best is None:
            kinds["recovered"] += 1
            torch.testing.assert_close(found, recovery_step(local))
            continue
        np.testing.assert_allclose(found[0].numpy(), best, atol=2e-4)
        kinds["solved"] += 1
        kinds["tight"] += bool(((local.b @ found.unsqueeze(-1)).squeeze(-1) + local.c > -1e-6).any())
    assert kinds["solved"] >= 6 and kinds["tight"] >= 3 and kinds["recovered"] >= 1, kinds


@pytest.mark.parametrize("j", [1, 2, 3])
def test_pcpo_step_is_the_projection_of_the_convex_program(j) -> None:
    for seed in range(8):
        local, metric = _local(seed, j)
        best = _program(local, metric, "project")
        assert best is not None  # half-spaces in general position always meet where j <= D
        np.testing.assert_allclose(pcpo_step(local)[0].numpy(), best, atol=2e-4)


def test_steps_by_hand() -> None:
    # H = I, radius 1/2, so the ball is the unit disc; g = (3, 4): TRPO steps to (.6, .8).
    # x_2 <= 0 (b = (0, 1), c = 0): CPO goes to (1, 0), PCPO projects to (.6, 0). Broken by 2: nothing in the disc keeps
    # it, CPO goes straight back: (0, -1); PCPO lands on x_2 = -2. The third policy has no gradient and stays.
    g, b = torch.tensor([[3.0, 4], [3, 4], [0, 0]]), torch.tensor([[[0.0, 1]]]).expand(3, 1, 2)
    local = Local(g, b, torch.tensor([[0.0], [2], [-1]]), g, b, 0.5)
    torch.testing.assert_close(trpo_step(local), torch.tensor([[0.6, 0.8], [0.6, 0.8], [0, 0]]))
    torch.testing.assert_close(cpo_step(local), torch.tensor([[1.0, 0], [0, -1], [0, 0]]))
    torch.testing.assert_close(pcpo_step(local), torch.tensor([[0.6, 0], [0.6, -2], [0, 0]]))


def test_a_pcpo_step_is_not_a_plain_gradient_step() -> None:
    # The direction must be H^-1 g. With H = diag(1, 4), g = (1, 1), radius 1/2: H^-1 g = (1, 1/4), g'H^-1 g = 5/4.
    g, b = torch.tensor([[1.0, 1]]), torch.zeros(1, 0, 2)
    local = Local(g, b, torch.zeros(1, 0), torch.tensor([[1.0, 0.25]]), b, 0.5)
    torch.testing.assert_close(pcpo_step(local), torch.tensor([[1.0, 0.25]]) / 1.25**0.5)


def test_policies_are_solved_apart() -> None:
    together, _ = _local(3, 2, policies=6)
    for step in (trpo_step, cpo_step, pcpo_step, recovery_step):
        rows = [step(Local(*(x[p : p + 1] for x in together[:5]), together.radius)) for p in range(6)]
        torch.testing.assert_close(step(together), torch.cat(rows))


def test_too_many_constraints_are_refused() -> None:
    with pytest.raises(ValueError, match="512 cases"):
        cpo_step(_local(0, 9)[0])


def _sampled(head, policies=2, n=40):
    """A model, parameters and samples of its own policy."""
    draw = torch.Generator().manual_seed(0)
    model = ActorCritic(Features(3), head, 2, (4,))
    theta = model.init(policies, draw)
    theta[:, ACTOR] += 0.3 * torch.randn(theta[:, ACTOR].shape, generator=draw)
    inputs = torch.randn(policies, n, 3, generator=draw)
    out, extra = model.outputs(model.actor(theta), inputs)
    action = head.sample(out, extra, head.noise((policies, n), draw))
    advantages = torch.randn(policies, n, 2, generator=draw)
    log_prob = head.log_prob(out, extra, action)
    return model, theta, Batch(inputs, action, log_prob, advantages, advantages[..., 0], advantages)


def test_curvature_is_the_explicit_fisher_matrix() -> None:
    # Of a softmax over 3 options: F = mean over states of sum_a p_a score_a score_a', from autograd's scores.
    head = Categorical((3,))
    model, theta, batch = _sampled(head)
    product = curvature(model, theta, batch.inputs, damping=0.25)
    for p in range(2):
        actor = theta[p : p + 1, ACTOR].clone()
        logs = lambda a: model.outputs(model.network.layers(a), batch.inputs[p : p + 1])[0].log_softmax(-1)[0]  # noqa: E731, B023
        scores = torch.autograd.functional.jacobian(logs, actor).squeeze(2)  # [n, 3, D]
        fisher = torch.einsum("na,nax,nay->xy", logs(actor).exp(), scores, scores) / len(scores)
        v = torch.randn(2, 1, theta.shape[-1], generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(product(v)[p, 0], fisher @ v[p, 0] + 0.25 * v[p, 0], atol=1e-5, rtol=1e-4)


def test_a_step_stays_in_the_ball_gains_and_keeps_its_limit() -> None:
    head = Gaussian((-1.0, -1.0), (1.0, 1.0))
    model, theta, batch = _sampled(head, n=200)
    ball = Ball(radius=0.01, damping=1e-3, iterations=20)
    local = local_problem(model, theta, batch, torch.tensor([[-0.005], [0.02]]), ball)
    step = line_search(model, theta, batch, local, cpo_step(local), ball)
    moved = theta.clone()
    moved[:, ACTOR] += step
    old, new = (model.outputs(model.actor(t), batch.inputs) for t in (theta, moved))
    divergence = head.divergence(*new, *old).mean(-1)
    ratio = (head.log_prob(*new, batch.action) - batch.log_prob).exp().unsqueeze(-1)
    change = (ratio * batch.advantages).mean(1) - batch.advantages.mean(1)
    assert (divergence <= 0.0105).all() and (divergence > 0.002).all()
    assert change[0, 0] > 0 and change[0, 1] <= 0.005 + 1e-6  # feasible: gains, and stays so
    assert change[1, 1] < 0  # broken by .02: the cost goes down


def test_a_step_that_only_hurts_is_not_taken() -> None:
    model, theta, batch = _sampled(Categorical((3,)))
    ball = Ball(backtracks=3)
    local = local_problem(model, theta, batch, torch.full((2, 1), -1.0), ball)
    assert line_search(model, theta, batch, local, -trpo_step(local), ball).abs().sum() == 0
    assert line_search(model, theta, batch, local, trpo_step(local), ball).abs().sum() > 0
    # Where the cost is the gain itself, no gain is taken that breaks a limit with nothing to spare.
    same = batch._replace(advantages=batch.advantages[..., :1].expand(-1, -1, 2))
    for room, moves in ((1.0, True), (1e-5, False)):
        local = local_problem(model, theta, same, torch.full((2, 1), -room), ball)
        assert (line_search(model, theta, same, local, trpo_step(local), ball).abs().sum() > 0) == moves
    for wrong in ({"radius": 0.0}, {"damping": -1.0}, {"shorten": 1.0}, {"iterations": 0}):
        with pytest.raises(ValueError, match="needed"):
            Ball(**wrong)
