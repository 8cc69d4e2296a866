"""Return estimators against hand arithmetic and plain loops."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from tradeoff.engine.returns import accrued, discounted_returns, gae, n_step_returns, scan

LENGTHS = (1, 2, 3, 7, 8, 33)


def _column(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64).unsqueeze(-1)


def _flags(length: int, *at: int) -> Tensor:
    return torch.tensor([t in at for t in range(length)])


def _random(length: int, seed: int = 0) -> dict[str, Tensor]:
    """Rewards and values [T, 2, 3, 2] with both kinds of ends; next_value is not the next row's value on purpose."""
    generator = Generator().manual_seed(seed)
    draw = {k: torch.randn(length, 2, 3, 2, generator=generator).double() for k in ("reward", "value", "next_value")}
    kind = torch.randint(0, 6, (length, 2, 3), generator=generator)
    return draw | {"terminated": kind == 0, "truncated": kind == 1}


def test_gae_by_hand() -> None:
    # gamma = lambda = 1/2, r = (1, 2, 4), V = (2, 4, 10), V' = (4, 6, 99); step 1 truncated, step 2 terminated.
    #   delta_0 = 1 + 4/2 - 2 = 1        A_0 = 1 + 1/4 * A_1 = 1.25
    #   delta_1 = 2 + 6/2 - 4 = 1        A_1 = 1 (cut: the clock ran out)
    #   delta_2 = 4 - 10 = -6            A_2 = -6 (nothing beyond, 99 is not looked at)
    columns = _column(1, 2, 4), _column(2, 4, 10), _column(4, 6, 99)
    advantage = gae(*columns, _flags(3, 2), _flags(3, 1), 0.5, 0.5)
    assert advantage.flatten().tolist() == [1.25, 1.0, -6.0]


@pytest.mark.parametrize(
    ("terminated", "truncated", "want"),
    [
        # gamma = 1/2, lambda = 1, r = (1, 2), V = (4, 8), V' = (6, 10). Last step: A_1 = 2 + 10/2 - 8 = -1.
        (False, False, 1 + 6 / 2 - 4 - 1 / 2),  # goes on:                 -0.5
        (True, False, 1 - 4),  # ended: no value, no recursion             -3
        (False, True, 1 + 6 / 2 - 4),  # clock: the value, no recursion     0
        (True, True, 1 - 4),  # both: ended counts                         -3
    ],
)
def test_gae_at_the_four_kinds_of_ends(terminated: bool, truncated: bool, want: float) -> None:
    ends = torch.tensor([terminated, False]), torch.tensor([truncated, False])
    advantage = gae(_column(1, 2), _column(4, 8), _column(6, 10), *ends, 0.5, 1.0)
    assert advantage.flatten().tolist() == [want, -1.0]


@pytest.mark.parametrize("length", LENGTHS)
def test_scan_equals_a_loop(length: int) -> None:
    generator = Generator().manual_seed(length)
    x, decay = (torch.randn(length, 3, 2, generator=generator).double() for _ in range(2))
    kept = x.clone(), decay.clone()
    want, y = torch.zeros_like(x), torch.zeros(3, 2).double()
    for t in reversed(range(length)):
        y = x[t] + decay[t] * y
        want[t] = y
    torch.testing.assert_close(scan(x, decay), want, rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(scan(x, decay[..., :1])[..., 0], want[..., 0], rtol=1e-12, atol=1e-10)
    assert torch.equal(x, kept[0]) and torch.equal(decay, kept[1]), "arguments must stay"


@pytest.mark.parametrize("length", LENGTHS)
def test_gae_equals_a_loop(length: int) -> None:
    data, gamma, lam = _random(length), 0.9, 0.7
    want, last = torch.zeros(length, 2, 3, 2).double(), torch.zeros(2, 3, 2).double()
    for t in reversed(range(length)):
        alive = (~data["terminated"][t]).double().unsqueeze(-1)
        inside = (~(data["terminated"][t] | data["truncated"][t])).double().unsqueeze(-1)
        delta = data["reward"][t] + gamma * alive * data["next_value"][t] - data["value"][t]
        last = delta + gamma * lam * inside * last
        want[t] = last
    torch.testing.assert_close(gae(**data, gamma=gamma, lam=lam), want, rtol=1e-12, atol=1e-12)


def test_gae_with_lambda_zero_and_one() -> None:
    data, gamma = _random(33), 0.9
    value = data.pop("value")
    one_step = n_step_returns(**data, gamma=gamma, n=1) - value
    torch.testing.assert_close(gae(**data, value=value, gamma=gamma, lam=0.0), one_step, rtol=1e-12, atol=1e-12)
    # With lambda = 1 the values between telescope where next_value[t] is value[t + 1], inside episodes.
    inside = ~(data["terminated"] | data["truncated"])[:-1].unsqueeze(-1)
    data["next_value"][:-1] = torch.where(inside, value[1:], data["next_value"][:-1])
    whole = discounted_returns(**data, gamma=gamma) - value
    torch.testing.assert_close(gae(**data, value=value, gamma=gamma, lam=1.0), whole, rtol=1e-12, atol=1e-12)


def test_gae_mixes_n_step_advantages_geometrically() -> None:
    # A = (1 - lambda) sum_k lambda^(k-1) A^(k); from k = 12 on nothing changes within 12 steps, so that the last one
    # takes the rest of the weights, lambda^11.
    data, gamma, lam, length = _random(12), 0.9, 0.6, 12
    value = data.pop("value")
    inside = ~(data["terminated"] | data["truncated"])[:-1].unsqueeze(-1)
    data["next_value"][:-1] = torch.where(inside, value[1:], data["next_value"][:-1])
    steps = [n_step_returns(**data, gamma=gamma, n=k) - value for k in range(1, length + 1)]
    weights = [(1 - lam) * lam ** (k - 1) for k in range(1, length)] + [lam ** (length - 1)]
    mixture = sum(w * a for w, a in zip(weights, steps, strict=True))
    torch.testing.assert_close(gae(**data, value=value, gamma=gamma, lam=lam), mixture, rtol=1e-12, atol=1e-12)


def test_discounted_returns_by_hand() -> None:
    # gamma = 1/2, r = (1, 2, 4, 8), V' = (7, 6, 99, 10); step 1 truncated, step 2 terminated, step 3 cut by the record.
    #   G_1 = 2 + 6/2 = 5,  G_0 = 1 + 5/2 = 3.5,  G_2 = 4,  G_3 = 8 + 10/2 = 13
    ends = _flags(4, 2), _flags(4, 1)
    got = discounted_returns(_column(1, 2, 4, 8), _column(7, 6, 99, 10), *ends, 0.5)
    assert got.flatten().tolist() == [3.5, 5.0, 4.0, 13.0]


def test_n_step_returns_by_hand() -> None:
    # gamma = 1/2, r = (1, 2, 4, 8), V' = (4, 8, 16, 32), nothing ends; n = 2:
    #   1 + 2/2 + 8/4 = 4,  2 + 4/2 + 16/4 = 8,  4 + 8/2 + 32/4 = 16,  the last has one step left: 8 + 32/2 = 24
    rows, never = (_column(1, 2, 4, 8), _column(4, 8, 16, 32)), _flags(4)
    assert n_step_returns(*rows, never, never, 0.5, 2).flatten().tolist() == [4, 8, 16, 24]
    # Step 1 terminated: 1 + 2/2 = 2 and 2. Step 1 truncated: 1 + 2/2 + 8/4 = 4 and 2 + 8/2 = 6.
    assert n_step_returns(*rows, _flags(4, 1), never, 0.5, 2).flatten().tolist() == [2, 2, 16, 24]
    assert n_step_returns(*rows, never, _flags(4, 1), 0.5, 2).flatten().tolist() == [4, 6, 16, 24]
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        n_step_returns(*rows, never, never, 0.5, 0)


@pytest.mark.parametrize("length", LENGTHS)
def test_many_steps_are_the_whole_return(length: int) -> None:
    data = _random(length)
    del data["value"]
    whole = discounted_returns(**data, gamma=0.9)
    for n in (length, length + 3):
        torch.testing.assert_close(n_step_returns(**data, gamma=0.9, n=n), whole, rtol=1e-12, atol=1e-12)


def test_accrued_by_hand() -> None:
    # x = (1, 2, 4, 8), a new episode at step 2, 10 carried in: 11, 13, then 4, 12. A start at step 0 forgets the carry.
    x, carry = _column(1, 2, 4, 8), torch.tensor([10.0], dtype=torch.float64)
    assert accrued(x, _flags(4, 2), carry).flatten().tolist() == [11, 13, 4, 12]
    assert accrued(x, _flags(4, 0, 2), carry).flatten().tolist() == [1, 3, 4, 12]


def test_shapes_that_broadcast_by_accident_are_refused() -> None:
    data = _random(3)
    for name in ("value", "next_value"):
        with pytest.raises(ValueError, match=r"value \(3, 2, 3, 1\)|next_value \(3, 2, 3, 1\)"):
            gae(**(data | {name: data[name][..., :1]}), gamma=0.9, lam=0.9)
    with pytest.raises(ValueError, match=r"terminated \(3, 2, 1\)"):
        gae(**(data | {"terminated": data["terminated"][..., :1]}), gamma=0.9, lam=0.9)
