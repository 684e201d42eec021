"""A blur schedule that is learnt end to end, by the gradient through a sampler.

    python docs/examples/learned_blur.py

Which blur levels should a sampler of eight steps visit? The one fair judge is the law
of what it draws. Where the data are Gaussian, here with the mean and covariance of the
8 x 8 digits, the exact denoiser is affine; so a deterministic sampler is an affine map,
its law a Gaussian, and the Fréchet distance to the law of the data a closed formula. It
is differentiated through the sampler, the oracle, the blur and the schedule.

The objective cannot be cheated: it compares with the data, whose law does not depend on
the schedule, and both ends of the schedule are held. Writes two pictures.
"""

import argparse
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

import softsde as ss

NUM_STEPS, MAX_BLUR = 8, 4.0
TIMES = np.linspace(0.0, 1.0, NUM_STEPS + 1)


def make_process(logits: Array) -> ss.Process:
    """Shares of the way from no blur to the most, so any logits give a schedule."""
    rises = MAX_BLUR * jnp.cumsum(jax.nn.softmax(logits))
    levels = ss.schedules.PiecewiseLinear(TIMES, jnp.append(0.0, rises))
    return ss.Process(
        ss.corruptions.HeatBlur((8, 8, 1)), levels, ss.schedules.Geometric(0.02, 0.2)
    )


def frechet(mean_a: Array, root_a: Array, mean_b: Array, covariance_b: Array) -> Array:
    """Squared, of two Gaussians; the first by the square root of its covariance."""
    overlap = jnp.linalg.eigvalsh(root_a @ covariance_b @ root_a)
    trace = jnp.sum(root_a**2) + jnp.trace(covariance_b)
    overlap = jnp.sum(jnp.sqrt(jnp.maximum(overlap, 1e-12)))
    return jnp.sum((mean_a - mean_b) ** 2) + trace - 2 * overlap


def sampling_error(
    process: ss.Process, oracle: ss.oracles.GaussianOracle, num_steps: int = NUM_STEPS
) -> Array:
    """Fréchet distance, squared, of the sampler's law to that of the process at 0."""
    start_mean, start_covariance = oracle.marginal_moments(process, process.t1)
    # An affine map is known by what it does to a basis and to the mean.
    basis = jnp.concatenate([start_mean[None], start_mean + jnp.eye(start_mean.size)])
    drawn = ss.sample(
        process,
        oracle.denoiser(process),
        x1=basis.reshape(-1, *oracle.mean.shape),
        num_steps=num_steps,
        noise_clock="flow",
        denoise_last=False,
        key=jax.random.key(0),  # nothing is random
    )
    mean, *columns = drawn.x.reshape(len(basis), -1)
    slope = jnp.stack(columns) - mean  # transposed
    covariance = slope.T @ start_covariance @ slope
    true_mean, true_covariance = oracle.marginal_moments(process, process.t0)
    values, vectors = jnp.linalg.eigh(true_covariance)
    root = (vectors * jnp.sqrt(values)) @ vectors.T
    return frechet(true_mean, root, mean, covariance)


def learn(oracle: ss.oracles.GaussianOracle, steps: int) -> tuple[Array, list[float]]:
    def objective(logits: Array) -> tuple[Array, Array]:
        error = sampling_error(make_process(logits), oracle)
        return jnp.log(error), error

    # Forward mode: eight parameters, and `sample` keeps no tape.
    gradient = jax.jit(jax.jacfwd(objective, has_aux=True))
    optimiser = optax.adam(optax.cosine_decay_schedule(0.1, steps))

    @jax.jit
    def update(logits, state):
        slope, error = gradient(logits)
        change, state = optimiser.update(slope, state)
        return optax.apply_updates(logits, change), state, error

    logits = jnp.zeros(NUM_STEPS)
    state, errors = optimiser.init(logits), []
    for _ in range(steps):
        logits, state, error = update(logits, state)
        errors.append(float(error))
    return logits, errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60, help="of gradient descent")
    parser.add_argument("--folder", type=pathlib.Path, default="runs/learned_blur")
    options = parser.parse_args()
    began = time.perf_counter()
    jax.config.update("jax_enable_x64", True)

    images = np.asarray(ss.data.to_array(ss.data.digits()), np.float64)
    rows = images.reshape(len(images), -1)
    oracle = ss.oracles.GaussianOracle(images.mean(axis=0), np.cov(rows.T))
    logits, errors = learn(oracle, options.steps)
    print(f"{errors[0]:.4f} before, {errors[-1]:.4f} after {options.steps} steps")
    transport = ss.schedules.transport_schedule(
        ss.corruptions.HeatBlur((8, 8, 1)),
        np.linspace(0.0, MAX_BLUR, 256),
        images,
        num_points=NUM_STEPS + 1,
    )
    learnt = make_process(logits)
    processes = {
        "even": make_process(jnp.zeros(NUM_STEPS)),
        "optimal transport": ss.Process(
            learnt.corruption, transport.schedule, learnt.noise
        ),
        "learnt": learnt,
    }
    print("squared Fréchet distance to the data, by the steps of the sampler")
    print("| levels | 4 steps | 8 steps | 16 steps | 32 steps |")
    print("| --- | --- | --- | --- | --- |")
    for name, process in processes.items():
        found = [float(sampling_error(process, oracle, n)) for n in (4, 8, 16, 32)]
        print(f"| {name} | " + " | ".join(f"{error:.4f}" for error in found) + " |")

    ss.plotting.plot_curves(
        np.arange(len(errors), dtype=np.float64),
        {"of eight steps": np.array(errors)},
        options.folder / "loss.png",
        x_label="step of gradient descent",
        y_label="squared Fréchet distance",
    )
    ss.plotting.plot_curves(
        TIMES,
        {name: np.array([p.level(t) for t in TIMES]) for name, p in processes.items()},
        options.folder / "levels.png",
        y_label="blur, pixels",
    )
    print(f"{time.perf_counter() - began:.0f} s; see {options.folder}")


if __name__ == "__main__":
    main()
