"""Choose the blur over time for the digits in three ways, and measure their steps.

    python docs/examples/schedule.py

Works offline and takes less than a minute on a laptop. Prints the longest step of each
schedule, and draws the schedules and their steps to `schedule.png`.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import softsde as ss

images = ss.data.to_array(ss.data.digits())  # (1500, 8, 8, 1), in [0, 1]
blur = ss.corruptions.GaussianBlur(images.shape[1:])
candidates = np.geomspace(0.01, 4.5, 256)
points = 32

# Even steps of optimal transport.
transport = ss.fitting.transport_schedule(blur, candidates, images, num_points=points)

# The paper's baseline, Eq. 55: at each time the same share of the final error as the
# variance-exploding process.
matched = ss.fitting.matched_error_schedule(
    blur, candidates, images, ss.ve(0.01, 50.0), num_points=points
)

schedules = {
    "transport": transport.schedule,
    "matched error": matched.schedule,
    "geometric": ss.schedules.Geometric(candidates[0], candidates[-1]),
}

# One step of a sampler moves the images by the distance between two levels.
times = jnp.linspace(0, 1, points)
steps = {}
for name, schedule in schedules.items():
    levels = jnp.asarray(jax.vmap(schedule)(times))
    blurred = jax.vmap(
        lambda theta: jax.vmap(lambda x: blur.apply(theta, x))(jnp.asarray(images))
    )(levels)
    moved = jnp.sum(jnp.diff(blurred, axis=0) ** 2, axis=(2, 3, 4))
    steps[name] = np.sqrt(np.mean(moved, axis=1))
    print(f"{name:14} longest step {steps[name].max():.3f}, of {steps[name].sum():.2f}")

figure = Figure(figsize=(9, 3.4), layout="constrained")
FigureCanvasAgg(figure)
left, right = figure.subplots(1, 2)
for name, schedule in schedules.items():
    left.plot(times, jax.vmap(schedule)(times), label=name)
    right.plot(times[1:], steps[name], label=name)
left.set(xlabel="time", ylabel="blur, pixels", yscale="log")
right.set(xlabel="time", ylabel="distance that a step moves", ylim=(0, None))
left.legend()
for axes in (left, right):
    axes.grid(alpha=0.3)
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "schedule.png", dpi=200)
