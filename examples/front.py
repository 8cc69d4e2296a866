"""Find a Pareto front of a real environment, score it, and choose from it."""

from tradeoff import recommended

config = recommended("c-morl", "deep-sea-treasure-v0", steps=200_000, seed=0)
front = config.run(progress=True)

for point, error in zip(front.points, front.errors, strict=True):
    print("  ".join(f"{name} {x:8.3f} +- {e:.3f}" for name, x, e in zip(front.objectives, point, error, strict=True)))
print("hypervolume", front.indicators["hypervolume"])
print("against the exact front", front.indicators["known_front"])

hasty = front.select(weights=[0.1, 0.9])
greedy = front.select(minimum=[15.0, None])
print("hasty policy returns", hasty.point, "and the one with at least 15 of treasure", greedy.point)
