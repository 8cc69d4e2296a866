"""Steps whose length follows a schedule or the value that is climbed."""

from __future__ import annotations

import pytest
import torch

from tradeoff.engine.updates import SGD, Polyak, Scheduled


def test_a_scheduled_step_shrinks_and_remembers_its_turn() -> None:
    # Steps of 1/2 * (2 / (t + 2)) * 4: 2, 4/3, 1.
    update, theta, seen = Scheduled(SGD(0.5), 1.0), torch.zeros(1, 1, 1), []
    state = update.init(theta)
    for _ in range(3):
        update.step(theta, torch.full((1, 1, 1), 4.0), state, 1.0)
        seen.append(theta.item())
    assert seen == pytest.approx([2.0, 10 / 3, 13 / 3]) and state["steps"] == 3
    update.step(theta, torch.full((1, 1, 1), 4.0), state, 0.5)  # half of 1/2 * 2/5 * 4
    assert theta.item() == pytest.approx(13 / 3 + 0.4)


def _polyak(update: Polyak, values, gradients, best=None, rate: float = 1.0):
    theta = torch.zeros(len(values), 1, 1)
    state = update.init(theta)
    state["value"] = torch.tensor(values)
    if best is not None:
        state["best"] = torch.tensor(best)
    update.step(theta, torch.tensor(gradients).view(-1, 1, 1), state, rate)
    return theta.flatten().tolist(), state["best"].tolist()


def test_polyak_steps_towards_a_known_optimum() -> None:
    # (1 - value) / (2 g^2): (1 - 0) / 8 * 2 = 1/4; (1 - 1/2) / 2 * 1 = 1/4; cut at 5 * 0.01; above the optimum: none.
    moved, _ = _polyak(Polyak(5.0, scale=2.0, optimum=1.0), [0.0, 0.5, 0.0, 1.5], [2.0, 1.0, 0.01, 3.0])
    assert moved == pytest.approx([0.25, 0.25, 0.05, 0.0])
    halved, _ = _polyak(Polyak(5.0, scale=2.0, optimum=1.0), [0.0], [2.0], rate=0.5)
    assert halved == pytest.approx([0.125])
    still, _ = _polyak(Polyak(5.0, optimum=1.0), [0.0], [0.0])
    assert still == [0.0]


def test_twins_chase_the_best_that_the_other_has_shown() -> None:
    # Pair (0, 3): policy 0 aims at 3, policy 1 is ahead. Pair (2, 1) has shown (0, 4) before: policy 2 aims at 4.
    moved, best = _polyak(Polyak(9.0), [0.0, 3.0, 2.0, 1.0], [1.0, 1, 1, 1], best=[-9.0, -9.0, 0.0, 4.0])
    assert moved == [3.0, 0.0, 2.0, 1.0] and best == [0.0, 3.0, 2.0, 4.0]
    bold, _ = _polyak(Polyak(9.0, margin=0.5), [0.0, 3.0], [1.0, 1.0])
    assert bold == [3.5, 0.0]
    bolder, _ = _polyak(Polyak(9.0, margin=4.0), [0.0, 3.0], [1.0, 1.0])
    assert bolder == [7.0, 1.0], "a margin above the lead lets the leader move too"
    with pytest.raises(ValueError, match="3 policies do not make pairs"):
        Polyak(1.0).init(torch.zeros(3, 1, 1))


def test_polyak_reaches_the_optimum_of_a_quadratic_at_a_linear_rate() -> None:
    # -|x|^2 / 2 from 1: the gradient is -x, the step (x^2 / 2) / x^2 = 1/2, so every step halves x.
    update, theta = Polyak(9.0, optimum=0.0), torch.tensor([[[1.0, -3.0]]])
    state = update.init(theta)
    for _ in range(10):
        state["value"] = -0.5 * theta.square().sum((1, 2))
        update.step(theta, -theta.clone(), state)
    torch.testing.assert_close(theta.flatten(), torch.tensor([1.0, -3.0]) / 1024)
