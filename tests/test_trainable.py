"""A corruption's own parameters: gradients reach them from wherever it is used.

Against central differences in float64, for a spectral filter whose sharpness and whose
schedule are trained, under which operators of different levels commute with no data.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss

SHAPE = (6,)
KEY = jax.random.key(4)
# Each program runs a few times: nothing is gained by optimising it.
QUICKLY = {"xla_backend_optimization_level": 0}


class Sharpness(eqx.Module):
    """The transfer function 1 / (1 + (theta^2 omega^2)^p)."""

    power: jax.Array

    def __call__(self, theta, squared):
        return 1 / (1 + (theta**2 * squared + 1e-3) ** self.power)


class Turn(ss.corruptions.AbstractCorruption):
    """A rotation of neighbours, at a trained speed: not symmetric."""

    speed: jax.Array

    def apply(self, theta, x):
        angle = self.speed * theta
        return jnp.cos(angle) * x + jnp.sin(angle) * jnp.roll(x, 1)


def make_process(parameters):
    filtered = ss.corruptions.SpectralFilter(
        SHAPE, Sharpness(parameters["power"]), identity_level=None
    )
    corruption = ss.corruptions.Compose(filtered, Turn(parameters["speed"]))
    levels = ss.schedules.PiecewiseLinear([0.0, 0.5, 1.0], parameters["levels"])
    noise = ss.schedules.Geometric(0.1, parameters["sigma_max"])
    return ss.Process(corruption, levels, noise)


def start():
    return {
        "power": jnp.asarray(1.3),
        "speed": jnp.asarray(0.4),
        "levels": jnp.asarray([0.01, 0.7, 2.0]),
        "sigma_max": jnp.asarray(0.9),
    }


def make_denoiser(parameters):
    guess = lambda t, x: jnp.tanh(x + 0.3 * jnp.roll(x, 1)) * (1 - 0.5 * t)
    process = make_process(parameters)
    return ss.FunctionDenoiser(guess, process, train_process=True)


def soft_loss(parameters):
    """The loss of a batch, with the velocity: it takes the derivative in time too."""
    loss = ss.losses.SoftScoreMatching("inverse_std") + ss.losses.VelocityMatching()
    x0 = jnp.asarray(np.random.default_rng(0).normal(size=(5, *SHAPE)))
    return ss.losses.batch_loss(loss, make_denoiser(parameters), x0, key=KEY)


def score(parameters):
    """Sliced, which differentiates in the sample too."""
    x0 = jnp.linspace(-1.0, 1.0, 6)
    loss = ss.losses.SlicedScoreMatching()
    return loss(make_denoiser(parameters), x0, 0.6, key=KEY)


def schedule(parameters):
    """The corrupted sample, its speed and the way back from a noise level."""
    process = make_process(parameters)
    t = process.noise.inverse(jnp.asarray(0.25))
    x = jnp.linspace(-1.0, 1.0, 6)
    return jnp.vdot(x, process.apply(t, x) + 0.1 * process.apply_dot(t, x))


def sampler(parameters):
    """The end of a sampler's path, through the loop of diffrax."""
    denoiser = make_denoiser(parameters)
    x1 = jnp.asarray(np.random.default_rng(1).normal(size=(2, *SHAPE)))
    drawn = ss.sample(
        denoiser, x1=x1, num_steps=3, solver=ss.Momentum(), clock="sde", key=KEY
    )
    return jnp.sum(drawn.x**2)


@pytest.mark.parametrize(
    "use", [soft_loss, score, schedule, pytest.param(sampler, marks=pytest.mark.slow)]
)
def test_gradients_reach_the_parameters_of_a_corruption(x64, use):
    function = jax.jit(use, compiler_options=QUICKLY)
    parameters = start()
    if use is sampler:
        # The loop is a forward one: a sampler is differentiated forwards.
        gradient = jax.jit(jax.jacfwd(use), compiler_options=QUICKLY)(parameters)
    else:
        gradient = jax.jit(jax.grad(use), compiler_options=QUICKLY)(parameters)
    leaves, tree = jax.tree.flatten(parameters)
    flat = np.concatenate([np.ravel(leaf) for leaf in leaves])
    got = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)])

    def at(values):
        parts = np.split(values, np.cumsum([leaf.size for leaf in leaves])[:-1])
        shaped = [
            jnp.asarray(part.reshape(leaf.shape))
            for part, leaf in zip(parts, leaves, strict=True)
        ]
        return float(function(jax.tree.unflatten(tree, shaped)))

    h = 1e-5
    expected = [
        (at(flat + h * unit) - at(flat - h * unit)) / (2 * h)
        for unit in np.eye(flat.size)
    ]
    size = np.abs(got).max()
    np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-7 * size)
    for name in ("power", "speed"):
        assert abs(gradient[name]) > 1e-3 * size, "the corruption's own"


def test_the_process_of_a_denoiser_is_fixed_unless_asked(x64):
    """The same loss on the same process, without `train_process`: no gradient."""
    loss = ss.losses.SoftScoreMatching() + ss.losses.VelocityMatching()
    x0 = jnp.asarray(np.random.default_rng(0).normal(size=(5, *SHAPE)))

    def value(parameters):
        denoiser = ss.FunctionDenoiser(lambda t, x: x * t, make_process(parameters))
        return ss.losses.batch_loss(loss, denoiser, x0, key=KEY)

    gradient = jax.jit(jax.grad(value), compiler_options=QUICKLY)(start())
    assert all(np.all(np.asarray(g) == 0) for g in jax.tree.leaves(gradient))
