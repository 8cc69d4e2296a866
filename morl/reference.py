"""The point from which a front's hypervolume is counted where nobody has given one."""

from __future__ import annotations

import torch

from tradeoff.engine.guards import FiniteWatch, Place, reset
from tradeoff.engine.run import Run

EPISODES, LONGEST, SHARE = 32, 1000, 0.1


def fixed_reference(run: Run) -> tuple[tuple[float, ...], int]:
    """The least returns [m] of EPISODES episodes of random actions, less SHARE of their range, and the steps it took.

    Episodes are cut after LONGEST steps. Environments and actions have seeds of their own, so that all runs of an
    environment, with one horizon and one discount, count from the same point.
    Raises NumericalTrouble for numbers that are not finite, UserCodeFailed when the environment raises.
    """
    env = run.make_env(EPISODES, 0)
    place = Place(run.spec, "the random episodes that fix the reference point")
    watch = FiniteWatch(place, (1, EPISODES))
    observation = reset(env, 0, (1, EPISODES)).flatten(0, 1)
    draw = torch.Generator().manual_seed(0)
    m = len(run.spec.objectives)
    returns = torch.zeros(EPISODES, m, dtype=torch.float64, device=env.device)
    alive, steps = torch.ones(EPISODES, dtype=torch.bool, device=env.device), 0
    while alive.any() and steps < LONGEST:
        try:
            step = env.step(_random_actions(run, draw).to(env.device))
        except (Exception, SystemExit) as error:
            watch.check()
            raise place.failed(error, steps) from error
        watch(observation, torch.cat([step.reward, step.cost], -1), alive.unsqueeze(0))
        observation = step.observation
        returns += torch.where(alive.unsqueeze(1), step.reward.double() * run.discount**steps, 0.0)
        alive = alive & ~(step.terminated | step.truncated)
        steps += 1
    watch.check()
    env.close()
    least, span = returns.amin(0), returns.amax(0) - returns.amin(0)
    span = torch.where(span > 0, span, least.abs().clamp_min(torch.finfo(torch.float32).tiny))
    return tuple((least - SHARE * span).tolist()), steps * EPISODES * run.spec.repeat


def _random_actions(run: Run, draw: torch.Generator) -> torch.Tensor:
    """One for every environment: choices with equal probabilities, numbers normal with half the width of their box."""
    head, size = run.model.head, (1, EPISODES)
    out, extra = torch.zeros(*size, head.outputs), torch.zeros(1, 1, head.extras)
    return head.to_env(head.sample(out, extra, head.noise(size, draw))[0])
