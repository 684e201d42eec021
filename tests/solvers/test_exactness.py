"""The theorem of docs/exactness.md: no clock changes any marginal.

A mixture in the plane under an operator that is not normal, at five times on the way.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _cases import mixture, shear, starts

import softsde as ss

TIMES = (0.8, 0.6, 0.4, 0.2, 0.0)


class Blend(eqx.Module):
    """The paper's rate times `a`, and `b`: all clocks in one type, so that one compiled
    program serves them."""

    a: jax.Array
    b: jax.Array

    def __call__(self, t):
        # sigma_t = 0.2 * 5^t.
        return self.a * (2 * np.log(5)) + self.b * jnp.ones_like(t)


def blend(a, b):
    return ss.clocks.Custom(Blend(jnp.asarray(a), jnp.asarray(b)))


#: The paper's reverse SDE, six times its noise and more, and none at all.
CLOCKS = {"sde": (1.0, 0.0), "churn": (6.0, 2.0), "ode": (0.0, 0.0)}


@eqx.filter_jit
def reverse(process, oracle, solver, clock, x1, keys, steps):
    """The states at `TIMES`, by `steps` steps between two of them."""
    width = 0.2 / steps

    def one(start, key):
        noise = ss.reverse_sde(
            oracle.denoiser(process), clock=clock, shape=start.shape, key=key
        )

        def stretch(x, number):
            def body(i, x):
                s = 0.2 * number + width * i.astype(x.dtype)
                return solver.step(noise, s, s + width, x, None, None, False)[0]

            x = jax.lax.fori_loop(0, steps, body, x)
            return x, x

        return jax.lax.scan(stretch, start, jnp.arange(5.0))[1]

    return jax.vmap(one, out_axes=1)(x1, keys)


@eqx.filter_jit
def marginal(process, oracle, t, keys):
    """Draws of the exact `x_t`, by its definition."""

    def one(key):
        data_key, noise_key = jax.random.split(key)
        return process.perturb(t, oracle.sample(data_key), key=noise_key)[0]

    return jax.vmap(one)(keys)


def marginal_moments(process, oracle, t):
    """Mean and covariance, from those of the components."""
    c = np.asarray(jax.vmap(lambda e: process.apply(t, e), out_axes=1)(jnp.eye(2)))
    weights, means = np.asarray(oracle.weights), np.asarray(oracle.means)
    mean = weights @ means
    second = np.einsum("k,kij->ij", weights, np.asarray(oracle.covariances))
    second += np.einsum("k,ki,kj->ij", weights, means, means)
    covariance = second - np.outer(mean, mean)
    return c @ mean, c @ covariance @ c.T + float(process.sigma(t)) ** 2 * np.eye(2)


def moment_scores(drawn, mean, covariance):
    """Counts by how many standard errors two means and three second moments are off."""
    away = drawn - mean
    products = np.stack([away[:, 0] ** 2, away[:, 1] ** 2, away[:, 0] * away[:, 1]])
    numbers = np.concatenate([away.T, products])
    expected = np.array([0, 0, covariance[0, 0], covariance[1, 1], covariance[0, 1]])
    return (numbers.mean(1) - expected) * np.sqrt(len(drawn)) / numbers.std(1)


def energy_test(first, second, permutations=999):
    """The energy distance of two samples, and the largest of its permutations.

    Two samples of one law exceed the largest of 999 once in 1,000 times.
    """
    points = np.concatenate([first, second]).astype(np.float32)
    gaps = np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))
    signs = np.where(np.arange(len(points)) < len(first), 1, -1) / len(first)
    signs = signs.astype(np.float32)
    rng = np.random.default_rng(0)
    shuffled = rng.permuted(np.tile(signs, (permutations, 1)), axis=1)
    null = -np.einsum("pi,pi->p", shuffled @ gaps, shuffled)
    return -signs @ gaps @ signs, null.max()


def check_marginals(number, compared, steps, key):
    process, oracle = shear(), mixture(2)
    start_key, noise_key, exact_key = jax.random.split(key, 3)
    x1 = starts(process, oracle, number, start_key)
    truths = [
        np.asarray(marginal(process, oracle, jnp.asarray(t), keys))
        for t, keys in zip(
            TIMES, jax.random.split(exact_key, (5, compared)), strict=True
        )
    ]
    scores = []
    for a, b in CLOCKS.values():
        clock = blend(a, b)
        keys = jax.random.split(noise_key, number)
        path = np.asarray(reverse(process, oracle, ss.Heun(), clock, x1, keys, steps))
        for drawn, truth, t in zip(path, truths, TIMES, strict=True):
            scores.append(moment_scores(drawn, *marginal_moments(process, oracle, t)))
            energy, largest = energy_test(drawn[:compared], truth)
            assert energy < largest, f"clock {(a, b)} at t = {t}"
    # 75 numbers: the largest of as many normals exceeds 4 about once in 200 times.
    assert np.abs(scores).max() < 4


def test_every_clock_keeps_every_marginal(x64, key):
    """At 8 steps a stretch the bias is far below the error of 1,000 draws."""
    check_marginals(1000, 300, 8, key)


@pytest.mark.slow
def test_every_clock_keeps_every_marginal_sharply(x64, key):
    check_marginals(20_000, 2000, 40, key)


@pytest.mark.slow
def test_the_energy_distance_sees_what_moments_do_not(x64, key):
    """A Gaussian with the moments of the data is not the data, and it says so."""
    process, oracle = shear(), mixture(2)
    mean, covariance = marginal_moments(process, oracle, 0.0)
    number = 2000
    keys = jax.random.split(key, number)
    truth = np.asarray(marginal(process, oracle, jnp.asarray(0.0), keys))
    rng = np.random.default_rng(1)
    gaussian = rng.multivariate_normal(mean, covariance, size=number)
    assert np.abs(moment_scores(gaussian, mean, covariance)).max() < 4
    energy, largest = energy_test(gaussian, truth)
    assert energy > largest


@pytest.mark.slow
def test_the_naive_sampler_does_not_keep_them(x64, key):
    """So the tests above could have failed."""
    process, oracle = shear(), mixture(2)
    number = 4000
    x1 = starts(process, oracle, number, key)
    keys = jax.random.split(key, number)
    path = np.asarray(reverse(process, oracle, ss.Naive(), "ode", x1, keys, 20))
    truth = np.asarray(marginal(process, oracle, jnp.asarray(0.0), keys[:800]))
    scores = moment_scores(path[-1], *marginal_moments(process, oracle, 0.0))
    energy, largest = energy_test(path[-1][:800], truth)
    assert np.abs(scores).max() > 10 and energy > 2 * largest
