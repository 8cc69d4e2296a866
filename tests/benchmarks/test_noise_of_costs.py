"""How much critics explain and advantages scatter, against sums written out."""

import torch
from torch import Tensor

from benchmarks.noise_of_costs import BEYOND, explained, spreads
from engine.trajectories import Trajectories

STEPS, GAMMA = BEYOND + 50, 0.5


def drawn() -> Trajectories:
    """One objective and one cost of two policies in three environments, without ends."""
    shape = (STEPS, 2, 3)
    source = torch.Generator().manual_seed(0)
    pay = torch.randn(*shape, 2, generator=source)
    never, nothing = torch.zeros(shape, dtype=torch.bool), torch.zeros(*shape, 0)
    return Trajectories(
        nothing, nothing, pay[..., 0], pay[..., :1], pay[..., 1:], never, never, nothing, never, nothing
    )


def followed(data: Trajectories) -> Tensor:
    """Discounted sums [T + 1, P, B, c] from every step on, by the recursion."""
    sums = [torch.zeros_like(data.channels[0])]
    for paid in data.channels.flip(0):
        sums.append(paid + GAMMA * sums[-1])
    return torch.stack(sums[::-1])


def test_critics_that_know_what_follows_explain_all_and_those_that_say_nothing_explain_nothing() -> None:
    data = drawn()
    known, nothing = followed(data), torch.zeros(STEPS + 1, 2, 3, 2)
    torch.testing.assert_close(explained(data, known[:-1], known[1:], GAMMA), torch.ones(2, 2))
    torch.testing.assert_close(explained(data, nothing[:-1], nothing[1:], GAMMA), torch.zeros(2, 2))


def test_a_critic_that_knows_half_of_everything_leaves_a_quarter_of_the_variance() -> None:
    data = drawn()
    half = followed(data) / 2
    found = explained(data, half[:-1], half[1:], GAMMA)
    torch.testing.assert_close(found, torch.full((2, 2), 0.75))  # s - s / 2 has a quarter of the variance of s


def test_costs_scatter_by_their_price_and_without_memory_steps_stand_alone() -> None:
    data = drawn()
    nothing, price = torch.zeros(STEPS, 2, 3, 2), torch.tensor([[0.5], [2.0]])
    alone = spreads(data, nothing, nothing, GAMMA, 0.0, price)
    expected = torch.stack([data.reward[..., 0].std((0, 2)), data.cost[..., 0].std((0, 2)) * price[:, 0]], 1)
    torch.testing.assert_close(alone, expected)
    whole = spreads(data, nothing, nothing, GAMMA, 1.0, price)
    sums = followed(data)[:-1].std((0, 2)) * torch.cat([torch.ones(2, 1), price], 1)
    torch.testing.assert_close(whole, sums)
