"""How much critics explain and advantages scatter, against sums written out."""

import torch
from torch import Tensor

from benchmarks.noise_of_costs import BEYOND, explained, spreads
from tradeoff.engine.returns import gae
from tradeoff.engine.trajectories import Batch, fold

STEPS, COPIES, GAMMA = BEYOND + 50, 3, 0.5


def drawn() -> Tensor:
    """One objective and one cost [T, P, B, 2] of two policies."""
    return torch.randn(STEPS, 2, COPIES, 2, generator=torch.Generator().manual_seed(0))


def followed(paid: Tensor) -> Tensor:
    """Discounted sums [T + 1, P, B, c] from every step on, by the recursion."""
    sums = [torch.zeros_like(paid[0])]
    for now in paid.flip(0):
        sums.append(now + GAMMA * sums[-1])
    return torch.stack(sums[::-1])


def batch(paid: Tensor, value: Tensor, memory: float) -> Batch:
    """What a learner makes of steps without ends, with values [T + 1, P, B, c]."""
    never = torch.zeros(paid.shape[:3], dtype=torch.bool)
    advantages = gae(paid, value[:-1], value[1:], never, never, GAMMA, memory)
    no = torch.zeros(0)
    return Batch(no, no, no, fold(advantages), no, fold(advantages + value[:-1]))


def test_critics_that_know_what_follows_explain_all_and_those_that_say_nothing_explain_nothing() -> None:
    paid = drawn()
    known = followed(paid)
    torch.testing.assert_close(explained(batch(paid, known, 1.0), COPIES), torch.ones(2, 2))
    torch.testing.assert_close(explained(batch(paid, 0 * known, 1.0), COPIES), torch.zeros(2, 2))


def test_a_critic_that_knows_half_of_everything_leaves_a_quarter_of_the_variance() -> None:
    paid = drawn()
    found = explained(batch(paid, followed(paid) / 2, 1.0), COPIES)
    torch.testing.assert_close(found, torch.full((2, 2), 0.75))  # s - s / 2 has a quarter of the variance of s


def test_costs_scatter_by_their_price_and_without_memory_steps_stand_alone() -> None:
    paid, price = drawn(), torch.tensor([[0.5], [2.0]])
    nothing, units = torch.zeros(STEPS + 1, 2, COPIES, 2), torch.cat([torch.ones(2, 1), price], 1)
    torch.testing.assert_close(spreads(batch(paid, nothing, 0.0), price), paid.std((0, 2)) * units)
    whole = followed(paid)[:-1].std((0, 2)) * units
    torch.testing.assert_close(spreads(batch(paid, nothing, 1.0), price), whole)
