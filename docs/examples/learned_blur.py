"""A blur schedule that is learnt end to end, by the gradient through a sampler.

    python docs/examples/learned_blur.py

Which blur levels should a sampler of eight steps visit? Those with which the law of its
samples is closest to the law of the data. Here the data are Gaussian, with the mean and
the covariance of the 8 x 8 digits. Then the exact denoiser is affine, a deterministic
sampler is an affine map, its samples are Gaussian, and their Fréchet distance to the
data has a closed form. It is differentiated through the sampler, the oracle, the blur
and the schedule.

A schedule cannot lower the objective by not corrupting: the objective compares with
the data, whose law does not depend on the schedule, and both ends of the schedule are
fixed. Writes two pictures.
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
    """Logits are shares of the way from no blur to the most: all of them are valid."""
    rises = MAX_BLUR * jnp.cumsum(jax.nn.softmax(logits))
    levels = ss.schedules.PiecewiseLinear(TIMES, jnp.append(0.0, rises))
    return ss.Process(
        ss.corruptions.HeatBlur((8, 8, 1)), levels, ss.schedules.Geometric(0.02, 0.2)
    )


def frechet(mean_a: Array, root_a: Array, mean_b: Array, covariance_b: Array) -> Array:
    """Squared Fréchet distance of two Gaussians, the first of covariance `root_a`²."""
    overlap = jnp.linalg.eigvalsh(root_a @ covariance_b @ root_a)
    trace = jnp.sum(root_a**2) + jnp.trace(covariance_b)
    overlap = jnp.sum(jnp.sqrt(jnp.maximum(overlap, 1e-12)))
    return jnp.sum((mean_a - mean_b) ** 2) + trace - 2 * overlap


def sampling_error(
    process: ss.Process, oracle: ss.oracles.GaussianOracle, num_steps: int = NUM_STEPS
) -> Array:
    """Squared Fréchet distance of the samples to the process at time 0."""
    start_mean, start_covariance = oracle.marginal_moments(process, process.t1)
    # An affine map follows from its values at a basis and at the mean.
    basis = jnp.concatenate([start_mean[None], start_mean + jnp.eye(start_mean.size)])
    drawn = ss.sample(
        oracle.denoiser(process),
        x1=basis.reshape(-1, *oracle.mean.shape),
        num_steps=num_steps,
        solver=ss.Momentum(),
        clock="ode",
        denoise_last=False,
        key=jax.random.key(0),  # nothing is random
    )
    mean, *columns = drawn.x.reshape(len(basis), -1)
    slope = jnp.stack(columns) - mean  # transposed
    covariance = slope.T @ start_covariance @ slope
    # Both ends of the schedule are fixed, so these do not depend on it. `eigh` has no
    # derivative where eigenvalues repeat, as they do for pixels that are always black.
    true_mean, true_covariance = jax.lax.stop_gradient(
        oracle.marginal_moments(process, process.t0)
    )
    values, vectors = jnp.linalg.eigh(true_covariance)
    root = (vectors * jnp.sqrt(values)) @ vectors.T
    return frechet(true_mean, root, mean, covariance)


def learn(oracle: ss.oracles.GaussianOracle, steps: int) -> tuple[Array, list[float]]:
    def objective(logits: Array) -> tuple[Array, Array]:
        error = sampling_error(make_process(logits), oracle)
        return jnp.log(error), error

    # Forward mode: there are eight parameters, and `sample` has no reverse mode.
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
    transport = ss.fitting.transport_schedule(
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
