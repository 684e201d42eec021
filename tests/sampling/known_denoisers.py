"""A denoiser that counts its evaluations, and the exact one of a Gaussian."""

import jax
import jax.numpy as jnp
import numpy as np

import softsde as ss


def counting(process, fn=lambda t, x: 0.5 * x):
    """A denoiser that counts its evaluations."""
    calls = []

    def count(t, x):
        jax.debug.callback(lambda _: calls.append(1), t)
        return fn(t, x)

    return ss.FunctionDenoiser(count, process), calls


def gaussian_start(process, std, number, shape):
    """The exact denoiser of N(0, std^2), starts, and the std at `t0`.

    The denoiser solves by conjugate gradients, which ends after as many steps as there
    are components: where each sample is at a time of its own, XLA was seen to never
    finish a batch of factorisations on a CPU of two cores.
    """
    size = int(np.prod(shape))
    covariance = std**2 * jnp.eye(size)
    oracle = ss.oracles.GaussianOracle(jnp.zeros(shape), covariance)

    def predict(t, x):
        noise = process.sigma(t) ** 2
        marginal = lambda v: (
            std**2 * process.apply(t, process.adjoint(t, v)) + noise * v
        )
        solved, _ = jax.scipy.sparse.linalg.cg(marginal, x, tol=1e-7, maxiter=2 * size)
        return std**2 * process.adjoint(t, solved)

    noise = jax.random.normal(jax.random.key(1), (number, size))
    root = jnp.linalg.cholesky(oracle.marginal_moments(process, process.t1)[1])
    ended = oracle.marginal_moments(process, process.t0)[1]
    expected = float(np.sqrt(np.trace(np.asarray(ended)) / size))
    denoiser = ss.FunctionDenoiser(predict, process)
    return denoiser, (noise @ root.T).reshape(number, *shape), expected
