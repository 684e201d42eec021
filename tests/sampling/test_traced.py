"""A sampler traces the network once, and takes the weights as they are now."""

import importlib
import os
import traceback

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss

SHAPE = (4, 3, 1)


class Scaled(eqx.Module):
    """A network with one weight: the factor by which it shrinks."""

    factor: jax.Array
    traces: list = eqx.field(static=True, default_factory=list)

    def __call__(self, t, x, condition=None, *, key=None):
        self.traces.append(1)
        return self.factor * x


class _Traces(list):
    """A list that may stand in a static field."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__


def test_the_network_is_traced_once(process, prior, key):
    """However often a step calls it, and for all values of its weights."""
    traces = _Traces()
    # As users have it: diffrax changes this setting on the way, and a program traced
    # under the strict one of these tests would be traced again.
    with jax.numpy_dtype_promotion("standard"):
        for seed, factor in ((0, 0.5), (1, 0.5), (2, 0.25)):
            network = Scaled(jnp.asarray(factor), traces)
            ss.sample(
                ss.Denoiser(network, process, ss.parametrisations.Clean()),
                prior=prior,
                num_samples=2,
                num_steps=4,
                solver=ss.Heun(),
                key=jax.random.key(seed),
            )
    assert len(traces) == 1


def mean_of(denoiser, x1, key, **options):
    return float(np.mean(ss.sample(denoiser, x1=x1, num_steps=3, key=key, **options).x))


def test_present_weights_always_count(process, key):
    """A function, a method and an object read what changes between two calls."""
    x1 = jnp.full((2, *SHAPE), 0.3)
    state = {"mean": 0.0}
    by_dict = ss.FunctionDenoiser(lambda t, x: 0 * x + state["mean"], process)

    class Plain:
        mean = 0.0

        def predict(self, t, x):
            return 0 * x + self.mean

        def network(self, t, x, condition, *, key):
            return 0 * x + self.mean

    plain = Plain()
    clean = ss.parametrisations.Clean()
    denoisers = {
        "dictionary": by_dict,
        "method": ss.FunctionDenoiser(plain.predict, process),
        "network": ss.Denoiser(plain.network, process, clean),
    }
    for before, name in ((0.0, "before"), (3.0, "after")):
        state["mean"] = plain.mean = before
        for kind, denoiser in denoisers.items():
            got = mean_of(denoiser, x1, key)
            assert got == pytest.approx(before, abs=1e-5), (kind, name)


def test_weights_of_many_batches_are_never_stale(process, key):
    """One program serves all weights, in one batch and in several."""
    x1 = jnp.full((4, *SHAPE), 0.3)
    clean = ss.parametrisations.Clean()
    for factor in (0.5, 0.25, 0.5):
        denoiser = ss.Denoiser(Scaled(jnp.asarray(factor)), process, clean)
        many = ss.sample(denoiser, x1=x1, num_steps=3, batch_size=2, key=key).x
        one = ss.sample(denoiser, x1=x1, num_steps=3, key=key).x
        np.testing.assert_allclose(many, one, atol=1e-6)


@pytest.mark.slow
def test_weights_do_not_leak_across_training(process, key):
    """A step of gradient descent between two draws shows in the second."""
    x1 = jnp.full((4, *SHAPE), 0.3)
    clean = ss.parametrisations.Clean()
    denoiser = ss.Denoiser(Scaled(jnp.asarray(0.5)), process, clean)
    draw = lambda d: ss.sample(d, x1=x1, num_steps=3, batch_size=2, key=key).x
    before = draw(denoiser)
    after = draw(eqx.tree_at(lambda d: d.network.factor, denoiser, jnp.asarray(0.1)))
    assert np.abs(before - after).max() > 1e-3
    np.testing.assert_array_equal(draw(denoiser), before)


def test_a_sample_passes_few_functions_on_its_way(process, key, monkeypatch):
    """From `sample` to the product with a blur's matrix: at most seven of ours."""
    blur = importlib.import_module("softsde.corruptions._gaussian_blur")
    multiply, deepest = blur.multiply_along, []
    # The checkout itself may lie in a folder called softsde, with its environment.
    package = os.path.dirname(ss.__file__) + os.sep

    def watched(*args, **kwargs):
        stack = [frame.filename for frame in traceback.extract_stack()[:-1]]
        ours = [name for name in stack if name.startswith(package)]
        if any(name.endswith("_momentum.py") for name in ours):
            deepest.append(len(ours) + 1)  # and the product itself
        return multiply(*args, **kwargs)

    monkeypatch.setattr(blur, "multiply_along", watched)
    denoiser = ss.FunctionDenoiser(lambda t, x: 0.5 * x, process)
    x1 = jnp.full((1, *SHAPE), 0.3)
    options = dict(solver=ss.Momentum(), clock="sde", num_steps=2, key=key)
    ss.sample(denoiser, x1=x1, **options)
    assert deepest and max(deepest) <= 7
