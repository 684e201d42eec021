"""Configs survive JSON, name what may not change, and build."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from experiments import _build
from experiments._config import Config, DataConfig, to_dict
from experiments._errors import FolderError
from experiments._presets import ABLATIONS, PRESETS
from experiments._spec import Spec, parse

SHAPES = {
    "digits_blur": (8, 8, 1),
    "digits_unbalanced": (8, 8, 1),
    "fashion_mnist_blur": (28, 28, 1),
    "mnist_blur": (28, 28, 1),
    "mnist_unbalanced": (28, 28, 1),
    "images": (24, 24, 3),
    "cifar10_blur": (32, 32, 3),
    "celeba_blur": (64, 64, 3),
    "ncsn_mnist": (28, 28, 1),
    "ncsn_cifar10": (32, 32, 3),
}


def test_every_preset_has_a_shape_here():
    assert SHAPES.keys() == PRESETS.keys()


PAPER = [name for name in PRESETS if name.startswith("paper_")]
SHAPES |= {n: (32, 32, 3) if "cifar10" in n else (64, 64, 3) for n in PAPER}
NCSN = ["ncsn_mnist", "ncsn_cifar10"]
OTHERS = [name for name in PRESETS if name not in (*PAPER, *NCSN)]


@pytest.mark.parametrize("name", SHAPES)
def test_json_round_trip(name, tmp_path):
    config = PRESETS[name].config
    config.save(tmp_path / "config.json")
    assert Config.load(tmp_path / "config.json") == config


def test_a_file_that_is_no_config_is_refused_by_field(tmp_path):
    path = tmp_path / "config.json"
    content = to_dict(PRESETS["digits_blur"].config)
    content["training"]["depth"] = 3
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"config.json.*training: unknown \['depth'\]"):
        Config.load(path)
    del content["training"]["depth"]
    content["training"]["steps"] = "many"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"training.steps is 'many'; expected"):
        Config.load(path)
    content["training"]["steps"] = 5
    content["network"] = {"name": "UNet"}
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="network: it has the entries"):
        Config.load(path)
    content["network"] = {"name": "UNet", "options": {}}
    del content["data"]["source"]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"data: .*missing \['source'\]"):
        Config.load(path)
    path.write_text("{")
    with pytest.raises(ValueError, match="does not hold a config"):
        Config.load(path)


def test_identity_leaves_out_what_may_change():
    config = PRESETS["digits_blur"].config
    changed = dataclasses.replace(
        config,
        training=dataclasses.replace(config.training, steps=10**6, log_every=7),
        optimiser=dataclasses.replace(config.optimiser, learning_rate=0.1),
        sampling=dataclasses.replace(config.sampling, num=3),
    )
    assert config.identity() == changed.identity()
    for other in (
        dataclasses.replace(config, loss=Spec("CleanPrediction")),
        dataclasses.replace(
            config, training=dataclasses.replace(config.training, seed=1)
        ),
        dataclasses.replace(config, data=DataConfig("mnist")),
    ):
        assert config.identity() != other.identity()


def _parts(name, images=None):
    """The parts of a preset; on images of zeros without its schedule from data."""
    config = PRESETS[name].config
    if images is None:
        options = {n: v for n, v in config.process.options.items() if n != "levels"}
        config = dataclasses.replace(config, process=Spec(config.process.name, options))
        images = np.zeros((4, *SHAPES[name]), np.float32)
    return _build.Parts(config, ss.data.ArraySource(images))


def _shapes(name):
    """The loss of a preset, and the shapes of its arguments."""
    parts = _parts(name)
    network = eqx.filter_eval_shape(parts.network)
    process = parts.process()
    loss_fn, _ = parts.loss(process)
    denoiser = parts.denoiser(network, process)
    batch = {"image": jax.ShapeDtypeStruct((2, *SHAPES[name]), jnp.float32)}
    key = jax.eval_shape(lambda: jax.random.key(0))
    return lambda d, b, k: loss_fn(d, b, key=k)[0], denoiser, batch, key


@pytest.mark.parametrize(
    "name",
    [
        # The networks of the papers are large.
        pytest.param(name, marks=pytest.mark.slow)
        if name in ("celeba_blur", "cifar10_blur", *PAPER, *NCSN)
        else name
        for name in PRESETS
    ],
)
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


@pytest.mark.parametrize("name", ["paper_cifar10", "paper_celeba64"])
def test_the_papers_settings_are_appendices_d_and_g(name):
    config = PRESETS[name].config
    optimiser, training = config.optimiser, config.training
    assert (optimiser.learning_rate, optimiser.clip) == (2e-4, 1.0)
    assert (optimiser.warmup_steps, optimiser.schedule) == (5000, "constant")
    assert training.batch_size == 128
    assert 1_000_000 <= training.steps <= 2_000_000
    parts = _parts(name)
    process = parts.process()
    last, half_size = (18.0, 32) if name == "paper_cifar10" else (23.0, 80)
    assert process.corruption.half_size == half_size
    for t, sigma in ((0.0, 0.01), (0.2, 0.1), (1.0, 0.1)):
        np.testing.assert_allclose(process.sigma(jnp.array(t)), sigma, rtol=1e-5)
    np.testing.assert_allclose(process.level(jnp.array(1.0)), last, rtol=1e-6)
    assert type(parts.prior(process)) is ss.FlatColourPrior
    # The published network of CIFAR-10 has 62.76 million parameters. Fourier features
    # are numbers of it that are not trained, and the positional ones have none.
    network = eqx.filter_eval_shape(parts.network)
    arrays = eqx.filter(network, lambda x: isinstance(x, jax.ShapeDtypeStruct))
    assert 61e6 < sum(x.size for x in jax.tree.leaves(arrays)) < 63e6
    # Where the noise rests, the network still sees the time.
    assert isinstance(network.sees, ss.nn.SeesTime)


@pytest.mark.parametrize("base", ["paper_cifar10", "paper_celeba64"])
def test_each_ablation_changes_what_its_name_says(base):
    plain = PRESETS[base].config
    configs = {change: PRESETS[f"{base}_{change}"].config for change in ABLATIONS}
    for change, config in configs.items():
        assert config.optimiser == plain.optimiser, change
        assert config.network == plain.network, change
        assert (config.process != plain.process) != (config.loss != plain.loss), change
    process = {change: _parts(f"{base}_{change}").process() for change in ABLATIONS}
    noise = {change: process[change].sigma for change in process}
    assert float(noise["noise_0.05"](1.0)) == pytest.approx(0.05, rel=1e-5)
    assert float(noise["noise_0.025"](1.0)) == pytest.approx(0.025, rel=1e-5)
    # Geometric throughout: at half of the time the geometric mean of the ends.
    assert float(noise["together"](0.5)) == pytest.approx(0.1**1.5, rel=1e-5)
    assert float(noise["mask"](1.0)) == pytest.approx(0.1, rel=1e-5)
    assert float(process["together"].level(0.1)) > 0.011
    assert float(process["clean"].level(0.1)) < 0.011
    assert configs["clean"].loss == Spec("CleanPrediction")
    assert type(process["mask"].corruption) is ss.corruptions.CenterMask


def test_the_ablation_of_matched_errors_is_equation_55():
    images = np.random.default_rng(0).random((4, 32, 32, 3), np.float32)
    process = _parts("paper_cifar10_matched_error", images).process()

    def error(t):
        lost = jax.vmap(lambda x: x - process.apply(t, x))(jnp.asarray(images))
        return float(jnp.mean(lost**2) + process.sigma(t) ** 2)

    for t in (0.9, 0.95):
        reference = float(ss.ve(0.01, 50.0).sigma(t)) ** 2 / 50**2
        assert error(t) / error(1.0) == pytest.approx(reference, rel=0.02)


def test_presets_touch_no_device():
    """`use_cores` and `start_hosts` come after them, and too late if one did."""
    code = (
        "import jax; from experiments import _presets, quickstart; "
        "jax.config.update('jax_num_cpu_devices', 3); print(jax.device_count())"
    )
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    environment.pop("XLA_FLAGS", None)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=pathlib.Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "3", done.stderr


@pytest.mark.parametrize(
    ("name", "number"), [("ncsn_mnist", 200), ("ncsn_cifar10", 10)]
)
def test_ncsn_has_geometric_levels(name, number):
    """Noise, loss, network and sampler have the same levels."""
    parts = _parts(name)
    config, expected = PRESETS[name].config, np.geomspace(1.0, 0.01, number)
    process = parts.process()
    np.testing.assert_allclose(process.sigma(jnp.array(0.5)), 0.1, rtol=1e-5)
    loss = parts.maker.make(config.loss, ("loss",), "--loss")
    np.testing.assert_allclose(loss.sigmas[::-1], expected, rtol=1e-5)
    network = eqx.filter_eval_shape(parts.network)
    assert network.arguments["num_levels"] == number
    assert network.sees == ss.nn.SeesLevel(0.01, 1.0, number)
    solver = config.sampling.sampler.options()["solver"]
    np.testing.assert_allclose(solver.levels, expected, rtol=1e-6)
    assert (solver.step_size, solver.steps) == (2e-5, 100)


def test_ncsn_takes_another_sequence():
    """The network is told the index among the levels that it was given."""
    config = PRESETS["ncsn_mnist"].config
    sequence = parse('noise_sequence("cosine", 7)', "sigmas")
    network = dataclasses.replace(config.network, options={"sigmas": sequence})
    parts = _build.Parts(
        dataclasses.replace(config, network=network), _parts("ncsn_mnist").source
    )
    expected = ss.schedules.noise_sequence("cosine", 7)
    made = eqx.filter_eval_shape(parts.network)
    np.testing.assert_allclose(made.arguments["sigmas"], expected)
    assert made.sees == ss.nn.SeesNearest(tuple(expected.tolist()))


@pytest.mark.parametrize("name", OTHERS)
def test_the_process_is_soft_blur(name):
    process = _parts(name).process()
    for t, sigma in ((0.0, 0.01), (0.1, 0.1**1.5), (0.2, 0.1), (1.0, 0.1)):
        np.testing.assert_allclose(process.sigma(jnp.array(t)), sigma, rtol=1e-5)
    assert float(process.level(jnp.array(0.2))) <= 0.02
    last = PRESETS[name].config.process.options["max_blur"] or 18.0
    np.testing.assert_allclose(process.level(jnp.array(1.0)), last, rtol=1e-6)


def test_transport_levels_move_the_digits_by_smaller_steps_than_geometric_ones():
    config = PRESETS["digits_blur"].config
    source = _build.make_source(config.data)
    fitted = _build.Parts(config, source).process()
    blur, images = fitted.corruption, jnp.asarray(source.images)
    geometric_levels = ss.soft_blur(source.shape, max_blur=5.0).levels

    @jax.jit
    def moved(levels):
        blurred = jax.lax.map(
            lambda theta: jax.vmap(lambda x: blur.apply(theta, x))(images), levels
        )
        squared = jnp.sum(jnp.diff(blurred, axis=0) ** 2, axis=(2, 3, 4))
        return jnp.sqrt(jnp.mean(squared, axis=1))

    chosen, geometric = moved(fitted.levels.levels), moved(geometric_levels.levels)
    assert chosen.shape == geometric.shape
    # The longest step is as short as the candidates, 2.5 % apart, allow.
    assert chosen.max() < 1.2 * jnp.mean(chosen)
    assert chosen.max() < 0.85 * geometric.max()


def test_a_source_that_is_not_there_says_what_there_is():
    data = dataclasses.replace(PRESETS["digits_blur"].config.data, source="digit")
    with pytest.raises(FolderError, match="Did you mean 'digits'"):
        _build.make_source(data)
