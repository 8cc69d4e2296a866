"""Action distributions against torch.distributions and autograd."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Generator, Tensor, distributions

from tradeoff.engine.heads import Categorical, Gaussian, Head, make_head

HEADS: list[Head] = [
    Categorical((5,)),
    Categorical((2, 4, 3), flat=False),
    Gaussian((-1.0, 0.0), (1.0, 4.0)),
    Gaussian((-1.0, 0.0), (1.0, 4.0), squash=True),
]
each_head = pytest.mark.parametrize("head", HEADS, ids=["choice", "choices", "gaussian", "squashed"])


def _draw(head: Head, seed: int = 0, n: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    """out [2, n, outputs], extra [2, 1, extras] and sampled actions [2, n, c], double precision."""
    generator = Generator().manual_seed(seed)
    out = torch.randn(2, n, head.outputs, generator=generator, dtype=torch.float64)
    extra = 0.5 * torch.randn(2, 1, head.extras, generator=generator, dtype=torch.float64)
    return out, extra, head.sample(out, extra, head.noise((2, n), generator).double())


def _factors(head: Head, out: Tensor, extra: Tensor) -> list[distributions.Distribution]:
    """The same distribution as torch writes it, one factor per number of an action."""
    if isinstance(head, Categorical):
        return [distributions.Categorical(logits=part) for part in out.split(head.choices, -1)]
    normals = [distributions.Normal(out[..., i], extra[..., i].exp()) for i in range(head.outputs)]
    if not head.squash:
        return normals
    return [distributions.TransformedDistribution(n, [distributions.TanhTransform(cache_size=1)]) for n in normals]


@each_head
def test_log_prob_equals_torch_distributions(head: Head) -> None:
    out, extra, action = _draw(head)
    shown = action.tanh() if getattr(head, "squash", False) else action
    want = sum(f.log_prob(shown[..., i]) for i, f in enumerate(_factors(head, out, extra)))
    torch.testing.assert_close(head.log_prob(out, extra, action), want, rtol=1e-9, atol=1e-9)


@each_head
def test_entropy_and_divergence_equal_torch_distributions(head: Head) -> None:
    out, extra, _ = _draw(head)
    old_out, old_extra, _ = _draw(head, seed=1)
    pairs = [
        [getattr(f, "base_dist", f) for f in _factors(head, *at)] for at in ((out, extra), (old_out, old_extra))
    ]  # squashing leaves the divergence as it is; the entropy is documented as that of the normal
    entropy = sum(f.entropy() for f in pairs[0])
    divergence = sum(distributions.kl_divergence(p, q) for p, q in zip(*pairs, strict=True))
    torch.testing.assert_close(head.entropy(out, extra), entropy, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(head.divergence(out, extra, old_out, old_extra), divergence, rtol=1e-10, atol=1e-10)
    assert head.divergence(out, extra, out, extra).abs().max() < 1e-12


@each_head
def test_pull_equals_autograd(head: Head) -> None:
    out, extra, action = _draw(head)
    slope = torch.randn(2, 7, generator=Generator().manual_seed(2), dtype=torch.float64)
    by_hand = head.linearise(out, extra, action)[1](slope)
    out, extra = out.requires_grad_(), extra.requires_grad_()
    (head.log_prob(out, extra, action) * slope).sum().backward()
    torch.testing.assert_close(by_hand[0], out.grad, rtol=1e-10, atol=1e-10)
    if head.extras:
        torch.testing.assert_close(by_hand[1], extra.grad.squeeze(1), rtol=1e-10, atol=1e-10)
    assert by_hand[1].shape == (2, head.extras)


def test_log_prob_by_hand() -> None:
    # p = (1/4, 3/4) and (1/4, 1/4, 1/2). Actions (1, 2): 3/4 * 1/2 = 3/8; (0, 0): 1/16.
    out = torch.tensor([1.0, 3, 1, 1, 2]).log().expand(1, 2, 5)
    head, none = Categorical((2, 3), flat=False), torch.zeros(1, 1, 0)
    got = head.log_prob(out, none, torch.tensor([[[1, 2], [0, 0]]])).exp()
    torch.testing.assert_close(got, torch.tensor([[3 / 8, 1 / 16]]))
    # Normal with mean 1 and standard deviation 2 at 5: exp(-2) / (2 sqrt(2 pi)) = 0.0269955.
    density = Gaussian((-inf,), (inf,)).log_prob(
        torch.ones(1, 1, 1), torch.full((1, 1, 1), 2.0).log(), torch.tensor(5.0)
    )
    torch.testing.assert_close(density.exp(), torch.tensor([[0.0269955]]), rtol=1e-5, atol=0)


def test_squashed_density_stays_finite_where_tanh_saturates() -> None:
    # At u = 30, 1 - tanh(u)^2 = 4 exp(-60) to 26 digits: minus its logarithm is 60 - log 4; the normal at its mean adds
    # -log sqrt(2 pi) = -0.9189385.
    head = Gaussian((-1.0,), (1.0,), squash=True)
    u = torch.full((1, 1, 1), 30.0)
    want = 60 - np.log(4) - 0.9189385
    torch.testing.assert_close(head.log_prob(u, torch.zeros(1, 1, 1), u), torch.tensor([[want]], dtype=torch.float32))
    torch.testing.assert_close(head.log_prob(-u, torch.zeros(1, 1, 1), -u), torch.tensor([[want]], dtype=torch.float32))


def test_sampled_frequencies_match_probabilities() -> None:
    # 40,000 draws of each option: |frequency - p| stays below 4 standard errors for each of the 2 + 3 options.
    head, n = Categorical((2, 3), flat=False), 40_000
    out = torch.tensor([1.0, 3, 1, 2, 5]).log()
    noise = head.noise((1, n), Generator().manual_seed(0))
    action = head.sample(out.expand(1, n, 5), torch.zeros(1, 1, 0), noise)[0]
    for column, p in ((0, torch.tensor([1, 3]) / 4), (1, torch.tensor([1, 2, 5]) / 8)):
        frequency = torch.bincount(action[:, column], minlength=len(p)) / n
        assert ((frequency - p) / (p * (1 - p) / n).sqrt()).abs().max() < 4
    both = ((action[:, 0] == 1) & (action[:, 1] == 2)).float().mean()  # independent: 3/4 * 5/8 = 15/32
    assert abs(both - 15 / 32) / (15 / 32 * 17 / 32 / n) ** 0.5 < 4


def test_sampled_gaussian_has_its_mean_and_spread() -> None:
    # Mean 1, standard deviation 2; standard errors 2 / 200 = 0.01 and 2 / sqrt(80,000) = 0.007.
    head, n = Gaussian((-inf,), (inf,)), 40_000
    noise = head.noise((1, n), Generator().manual_seed(0))
    u = head.sample(torch.ones(1, n, 1), torch.full((1, 1, 1), 2.0).log(), noise)
    assert abs(u.mean() - 1) < 0.04 and abs(u.std() - 2) < 0.03


@pytest.mark.parametrize("head", HEADS[:3], ids=["choice", "choices", "gaussian"])
def test_the_mode_is_the_most_probable_action(head: Head) -> None:
    out, extra, action = _draw(head)
    mode = head.mode(out, extra)
    assert (head.log_prob(out, extra, mode) >= head.log_prob(out, extra, action)).all()
    if isinstance(head, Gaussian):
        assert torch.equal(mode, out)


def test_actions_reach_the_environment_in_its_units() -> None:
    # Box [2, 6] x [-1, inf): the finite one is centre 4, half width 2; the half-open one only clamped.
    #   u        2 columns:  u = -1 -> 2, u = 1/2 -> 5, u = 3 -> 10, cut to 6;   u = -7 -> cut to -1, u = 9 stays
    plain = Gaussian((2.0, -1.0), (6.0, inf))
    u = torch.tensor([[-1.0, -7.0], [0.5, 0.25], [3.0, 9.0]])
    assert plain.to_env(u).tolist() == [[2.0, -1.0], [5.0, 0.25], [6.0, 9.0]]
    below = Gaussian((-inf,), (1.0,))
    assert below.to_env(torch.tensor([[0.5], [-7.0], [3.0]])).tolist() == [[0.5], [-7.0], [1.0]]
    # Squashed: u = 0 -> centre, u = atanh(1/2) -> 4 + 2/2, far out -> the bound itself.
    squashed = Gaussian((2.0,), (6.0,), squash=True)
    got = squashed.to_env(torch.tensor([[0.0], [0.5493061443], [50.0], [-50.0]]))
    torch.testing.assert_close(got, torch.tensor([[4.0], [5.0], [6.0], [2.0]]))


def test_make_head_reads_the_space() -> None:
    single, several = make_head(spaces.Discrete(3)), make_head(spaces.MultiDiscrete([2, 3]))
    assert single == Categorical((3,)) and several == Categorical((2, 3), flat=False)
    assert single.to_env(torch.tensor([[2], [0]])).tolist() == [2, 0]
    assert several.to_env(torch.tensor([[1, 2]])).tolist() == [[1, 2]]
    box = spaces.Box(np.array([-1, 0]), np.array([1, 4]), dtype=np.float64)
    assert make_head(box, squash=True) == Gaussian((-1.0, 0.0), (1.0, 4.0), squash=True)
    assert (several.outputs, several.extras, make_head(box).outputs, make_head(box).extras) == (5, 0, 2, 2)


@pytest.mark.parametrize("space", [spaces.MultiBinary(3), spaces.Text(4), spaces.Tuple([spaces.Discrete(2)])])
def test_make_head_refuses_other_spaces(space: spaces.Space) -> None:
    with pytest.raises(TypeError, match="neither Discrete, MultiDiscrete nor Box; wrap the environment"):
        make_head(space)
