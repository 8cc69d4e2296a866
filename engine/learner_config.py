"""Settings of learners with rollouts and vector critics; every class holds what methods of its kind read, no more."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from tradeoff.engine.unread import refuse_unread


@dataclass(frozen=True, kw_only=True)
class ActorCriticConfig:
    """Rollouts, critics and one first-order step per iteration; the defaults suit continuous control."""

    rollout_steps: int = 512  # steps per environment and iteration
    environments: int = 4  # environments per policy
    learning_rate: float = 3e-4  # of actors and critics
    anneal: bool = False  # let the learning rate fall to zero linearly over the run
    gamma: float = 0.995  # discount of the critics
    gae_lambda: float = 0.95  # bias-variance trade of the advantages, in [0, 1]
    entropy: float = 0.0  # weight of the entropy bonus [normalised advantage / nat]
    critic: float = 0.5  # weight of the critics' squared error
    max_norm: float = 0.5  # longest gradient per policy
    hidden: tuple[int, ...] = (64, 64)  # units per hidden layer
    normalise: bool = True  # normalise observations (those that are numbers) by their running moments
    squash: bool = False  # squash Gaussian actions by tanh instead of clamping them
    spread: float = 1.0  # first standard deviation of continuous actions [half widths of their box]
    calm: float = 1.0  # share of it that they are held below at the end of the run, falling linearly; 1: left free

    def __post_init__(self) -> None:
        for name in ("rollout_steps", "environments"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "max_norm", "spread"):
            if not getattr(self, name) > 0:  # a NaN is refused too
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("gamma", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        for name in ("entropy", "critic"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0 < self.calm <= 1:
            raise ValueError(f"calm must lie in (0, 1], got {self.calm}")
        if not self.anneal:
            refuse_unread(self, ["calm"], "it follows a learning rate that falls", "give anneal, too, or leave it out")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden must name at least one layer of at least one unit, got {self.hidden}")


@dataclass(frozen=True, kw_only=True)
class MinibatchConfig(ActorCriticConfig):
    """The same with many steps per iteration."""

    epochs: int = 10  # passes over the samples of an iteration
    minibatches: int = 32  # parts of the samples per pass

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("epochs", "minibatches"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.rollout_steps * self.environments < self.minibatches:
            raise ValueError(
                f"{self.rollout_steps} steps x {self.environments} environments give fewer samples than "
                f"{self.minibatches} minibatches"
            )


@dataclass(frozen=True, kw_only=True)
class LearnerConfig(MinibatchConfig):
    """Proximal policy optimisation with vector critics."""

    clip: float = 0.2  # half-width of the trusted interval of probability ratios, in (0, 1)
    divergence: float = 0.0  # weight of KL(behaviour || policy) [normalised advantage / nat]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.divergence >= 0:
            raise ValueError(f"divergence must not be negative, got {self.divergence}")
        if not 0 < self.clip < 1:
            raise ValueError(f"clip must lie in (0, 1), got {self.clip}")
        if self.epochs * self.minibatches == 1:
            why = "the only step per iteration begins at the policy that sampled (epochs 1, minibatches 1)"
            refuse_unread(self, ["clip", "divergence"], why, "give more of either, or leave it out")


def as_learner(config: ActorCriticConfig) -> LearnerConfig:
    """The config that `Learner` takes: one step per iteration on all samples where no minibatches are named."""
    if isinstance(config, LearnerConfig):
        return config
    return LearnerConfig(**{"epochs": 1, "minibatches": 1, **asdict(config)})
