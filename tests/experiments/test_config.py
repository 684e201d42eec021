"""Configs survive JSON, name what may not change, and build."""

import dataclasses
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from experiments import _build
from experiments._config import PRESETS, Config

SHAPES = {
    "digits_blur": (8, 8, 1),
    "fashion_mnist_blur": (28, 28, 1),
    "mnist_blur": (28, 28, 1),
    "cifar10_blur": (32, 32, 3),
    "celeba_blur": (64, 64, 3),
}


def test_every_preset_has_a_shape_here():
    assert SHAPES.keys() == PRESETS.keys()


@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trip(name, tmp_path):
    config = PRESETS[name].config
    config.save(tmp_path / "config.json")
    assert Config.load(tmp_path / "config.json") == config


def test_a_file_that_is_no_config_is_refused_by_field(tmp_path):
    path = tmp_path / "config.json"
    content = dataclasses.asdict(PRESETS["digits_blur"].config)
    content["network"]["depth"] = 3
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"config.json.*network: unknown \['depth'\]"):
        Config.load(path)
    del content["network"]["depth"], content["data"]["source"]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"data: .*missing \['source'\]"):
        Config.load(path)
    path.write_text("{")
    with pytest.raises(ValueError, match="does not hold a config"):
        Config.load(path)


def test_identity_holds_steps_only_where_the_learning_rate_depends_on_them():
    config = PRESETS["digits_blur"].config
    longer = dataclasses.replace(
        config, training=dataclasses.replace(config.training, steps=10**6)
    )
    assert config.optimiser.schedule == "cosine"
    assert config.identity() != longer.identity()
    constant = dataclasses.replace(config.optimiser, schedule="constant")
    assert (
        dataclasses.replace(config, optimiser=constant).identity()
        == dataclasses.replace(longer, optimiser=constant).identity()
    )


def _shapes(name):
    """The loss of a preset, and the shapes of its arguments."""
    config, shape = PRESETS[name].config, SHAPES[name]
    loss_fn = _build.make_loss(config)
    network = eqx.filter_eval_shape(_build.make_network, config.network, shape)
    denoiser = ss.Denoiser(network, _build.make_process(config.process, shape))
    batch = {"image": jax.ShapeDtypeStruct((2, *shape), jnp.float32)}
    key = jax.eval_shape(lambda: jax.random.key(0))
    return lambda d, b, k: loss_fn(d, b, key=k)[0], denoiser, batch, key


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds(name):
    loss, *arguments = _shapes(name)
    value = eqx.filter_eval_shape(loss, *arguments)
    assert (value.shape, value.dtype) == ((), jnp.float32)


def test_the_network_alone_is_trained():
    loss, *arguments = _shapes("digits_blur")
    gradient = eqx.filter_eval_shape(eqx.filter_grad(loss), *arguments)
    network = arguments[0].network
    weights = eqx.filter(network, lambda x: isinstance(x, jax.ShapeDtypeStruct))
    assert jax.tree.structure(gradient.network) == jax.tree.structure(weights)
    assert len(jax.tree.leaves(gradient)) == len(jax.tree.leaves(weights))


@pytest.mark.parametrize("name", PRESETS)
def test_the_process_is_the_paper_s(name):
    config = PRESETS[name].config.process
    process = _build.make_process(config, SHAPES[name])
    for t, sigma in ((0.0, 0.01), (0.1, 0.1**1.5), (0.2, 0.1), (1.0, 0.1)):
        np.testing.assert_allclose(process.sigma(jnp.array(t)), sigma, rtol=1e-5)
    assert float(process.level(jnp.array(0.2))) <= 0.02
    np.testing.assert_allclose(
        process.level(jnp.array(1.0)), config.max_blur, rtol=1e-6
    )


def test_transport_levels_move_the_digits_by_smaller_steps_than_geometric_ones():
    config = PRESETS["digits_blur"].config
    source = _build.make_source(config.data)
    blur = _build.make_corruption(config.process, source.shape)
    images = jnp.asarray(source.images)

    @jax.jit
    def moved(levels):
        blurred = jax.lax.map(
            lambda theta: jax.vmap(lambda x: blur.apply(theta, x))(images), levels
        )
        squared = jnp.sum(jnp.diff(blurred, axis=0) ** 2, axis=(2, 3, 4))
        return jnp.sqrt(jnp.mean(squared, axis=1))

    chosen = moved(_build.make_levels(config.process, source).levels)
    geometric = moved(_build.make_process(config.process, source.shape).levels.levels)
    assert chosen.shape == geometric.shape
    # The longest step is as short as the candidates, 2.5 % apart, allow.
    assert chosen.max() < 1.2 * jnp.mean(chosen)
    assert chosen.max() < 0.85 * geometric.max()


def test_a_source_that_is_not_there_says_what_there_is():
    data = dataclasses.replace(PRESETS["digits_blur"].config.data, source="digit")
    with pytest.raises(FileNotFoundError, match="Did you mean 'digits'"):
        _build.make_source(data)
