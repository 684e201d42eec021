"""Every sampler on a mixture in the plane whose exact denoiser is known: no training.

    python docs/examples/mixture.py

Works offline. Starts every sampler from the same points, prints the evaluations that it
takes and the distance of its draws to the data, and draws them all to `mixture.png`.
"""

import sys

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import softsde as ss


class Swirl(ss.corruptions.AbstractCorruption):
    """Turns and shrinks the plane, faster along one direction: `expm(-theta L)`."""

    def apply(self, theta, x):
        theta = jnp.asarray(theta)
        angle, fast, slow = 1.5 * theta, jnp.exp(-2 * theta), jnp.exp(-theta)
        sheared = jnp.stack([fast * x[0] + (slow - fast) * x[1], slow * x[1]])
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        return jnp.stack(
            [cos * sheared[0] - sin * sheared[1], sin * sheared[0] + cos * sheared[1]]
        )


# Eight narrow Gaussians on a ring. A sampler must find them all.
angles = np.arange(8) * np.pi / 4
data = ss.oracles.MixtureOracle(
    np.arange(1, 9) / 36.0,
    2 * np.stack([np.cos(angles), np.sin(angles)], axis=1),
    np.tile(0.02 * np.eye(2), (8, 1, 1)),
)
process = ss.Process(
    Swirl(), ss.schedules.Linear(0.0, 1.0), ss.schedules.Geometric(0.05, 1.0)
)
denoiser = data.denoiser(process)
prior = ss.ExactPrior(data, process)
number, key = 1500, jax.random.key(0)
x1 = jax.vmap(prior.sample)(jax.random.split(key, number))
truth = jax.vmap(data.sample)(jax.random.split(jax.random.key(1), number))

adaptive = diffrax.PIDController(rtol=1e-3, atol=1e-3)
pair = ss.PredictorCorrector(ss.DDIM(), ss.MomentumCorrector())
song = ss.PredictorCorrector(ss.Momentum(), ss.Langevin(snr=0.16))
levels = np.geomspace(1.0, 0.05, 21)
annealed = ss.AnnealedLangevin(levels, 1e-3, steps=10)
flow, sde, churn = {"clock": "ode"}, {"clock": "sde"}, {"clock": ss.clocks.Churn(10.0)}
samplers = {
    "Momentum, flow": {"solver": ss.Momentum(), "num_steps": 20, **flow},
    "DDIM": {"solver": ss.DDIM(), "num_steps": 20},
    "Heun, flow": {"solver": ss.Heun(), "num_steps": 10, **flow},
    "Heun normalised, flow": {
        "solver": ss.Heun("normalised"),
        "num_steps": 10,
        **flow,
    },
    "EDMHeun": {"solver": ss.EDMHeun(), "num_steps": 10},
    "Multistep, flow": {"solver": ss.Multistep(), "num_steps": 20, **flow},
    "Dopri5, adaptive": {"solver": diffrax.Dopri5(), "times": adaptive},
    "DDIM + MomentumCorrector": {"solver": pair, "num_steps": 20},
    "Momentum": {"solver": ss.Momentum(), "num_steps": 40, **sde},
    "Momentum, churn 10": {"solver": ss.Momentum(), "num_steps": 40, **churn},
    "Multistep": {"solver": ss.Multistep(), "num_steps": 20, **sde},
    "ShARK": {"solver": diffrax.ShARK(), "num_steps": 20},
    "Momentum + Langevin": {"solver": song, "num_steps": 40, **sde},
    "AnnealedLangevin": {"solver": annealed},
    "Naive": {"solver": ss.Naive(), "num_steps": 40},
}


@jax.jit
def energy_distance(a, b):
    """`2 E|a - b| - E|a - a'| - E|b - b'|`: zero for equal laws only."""
    mean = lambda u, v: jnp.mean(jnp.linalg.norm(u[:, None] - v[None], axis=-1))
    return 2 * mean(a, b) - mean(a, a) - mean(b, b)


figure = Figure(figsize=(11, 11.6), layout="constrained")
FigureCanvasAgg(figure)
panels = figure.subplots(4, 4).ravel()


def show(axes, points, title):
    axes.scatter(points[:, 0], points[:, 1], s=1, alpha=0.5, color="#30507a")
    axes.set(xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[], aspect=1)
    axes.set_title(title, fontsize=9)


show(panels[0], truth, "the data")
for axes, (name, options) in zip(panels[1:], samplers.items(), strict=True):
    drawn = ss.sample(denoiser, x1=x1, denoise_last=False, key=key, **options)
    assert drawn.nfe is not None  # all of these solvers count
    evaluations = float(np.mean(np.asarray(drawn.nfe)))
    distance = float(energy_distance(drawn.x, truth))
    print(f"{name:26} {evaluations:5.0f} evaluations   distance {distance:.4f}")
    show(axes, drawn.x, f"{name}\n{evaluations:.0f} evaluations, {distance:.4f}")
path = sys.argv[1] if len(sys.argv) > 1 else "mixture.png"
figure.savefig(path, dpi=80)
print(f"wrote {path}")
