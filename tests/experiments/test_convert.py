"""Published checkpoints become models: the score is the one of the published code."""

import dataclasses
import functools
import pathlib
import re
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from experiments import convert
from experiments.convert import CONFIGURATIONS, Convert, convert_weights

sys.path.append(str(pathlib.Path(__file__).parents[1] / "models"))

from test_torch_files import module_fields, persistent_module
from torch_writer import Call, archive, old, plain, tensor

SMALL = {
    "shape": (8, 8, 3),
    "width": 8,
    "channel_multipliers": (1, 2),
    "blocks_per_level": 1,
    "attention_resolutions": (4,),
}


@eqx.filter_jit
def _apply(network, seen, x):
    return network(seen, x)


def _with_random_weights(make, seed):
    """A network with all of its weights random, and its state dict."""
    network = eqx.filter_jit(make)(key=jax.random.key(seed))
    random = np.random.default_rng(seed)
    state = {
        name: array
        if name == "sigmas" or name.endswith("resample_filter")
        else np.asarray(0.2 * random.normal(size=array.shape), np.float32)
        for name, array in ss.nn.state_dict(network).items()
    }
    return ss.nn.load_state_dict(network, state), state


@functools.cache
def _network(name, seed):
    """A small network of the configuration."""
    make = functools.partial(CONFIGURATIONS[name].network, **SMALL)
    return _with_random_weights(make, seed)


def _checkpoint(name, writer=archive):
    """A checkpoint of score_sde: a model, and the averages without their names."""
    _, state = _network(name, 0)
    averaged, average = _network(name, 1)
    average = dict(average)
    shadow = []
    for key, array in average.items():
        # The frequencies of Fourier features are not trained, so not averaged.
        if key == "sigmas" or (key.endswith(".W") and array.ndim == 1):
            average[key] = state[key]
        else:
            shadow.append(tensor(array))
    averaged = ss.nn.load_state_dict(averaged, average)
    pairs = [["module." + key, tensor(array)] for key, array in state.items()]
    content = {
        "optimizer": {"state": {}, "param_groups": []},
        "model": Call("collections.OrderedDict", (pairs,)),
        "ema": {"decay": 0.999, "num_updates": 3, "shadow_params": shadow},
        "step": 3,
    }
    return writer(content), averaged


def _published_score(name, network, t, x):
    """score_sde's `get_score_fn`, with the numbers of its configurations."""
    if CONFIGURATIONS[name].parametrisation == ss.parametrisations.Score():
        sigma = 0.01 * (50.0 / 0.01) ** t
        return _apply(network, jnp.float32(sigma), x)
    log_mean = -0.25 * t**2 * (20.0 - 0.1) - 0.5 * t * 0.1
    return -_apply(network, jnp.float32(999 * t), x) / np.sqrt(1 - np.exp(2 * log_mean))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["ncsnpp_cifar10_continuous", "ddpmpp_cifar10_continuous"]
)
def test_a_converted_model_has_the_published_score(tmp_path, name):
    made, network = _checkpoint(name)
    (tmp_path / "checkpoint.pth").write_bytes(made)
    content = ss.models.read_torch(tmp_path / "checkpoint.pth")
    convert_weights(content, name, changes=SMALL).save(tmp_path / "model")
    model = ss.load(tmp_path / "model")
    x = jax.random.normal(jax.random.key(2), SMALL["shape"])
    denoise = eqx.filter_jit(model.denoiser)
    for t in (0.1, 0.5, 0.9):
        time = jnp.asarray(t, jnp.float32)
        found = model.process.score(time, x, denoise(time, x))
        expected = _published_score(name, network, t, x)
        scale = float(jnp.abs(expected).max())
        np.testing.assert_allclose(found, expected, atol=2e-3 * scale)
    assert model.card["configuration"] == name
    assert model.card["range"] == ([0, 1] if name.startswith("ncsn") else [-1, 1])


@pytest.mark.slow
def test_sampling_starts_from_the_noise_of_the_last_time(tmp_path):
    """score_sde draws `sigma_max` times a normal; 40 draws of 192 numbers."""
    made, _ = _checkpoint("ncsnpp_cifar10_continuous", old)
    (tmp_path / "checkpoint.pth").write_bytes(made)
    content = ss.models.read_torch(tmp_path / "checkpoint.pth")
    model = convert_weights(content, "ncsnpp_cifar10_continuous", changes=SMALL)
    draws = jax.vmap(model.prior.sample)(jax.random.split(jax.random.key(0), 40))
    # The standard error of a standard deviation is 1 / sqrt(2 n).
    n = draws.size
    assert float(jnp.std(draws)) == pytest.approx(50, rel=4 / np.sqrt(2 * n))
    assert abs(float(jnp.mean(draws))) < 4 * 50 / np.sqrt(n)


def _pickled_network(state):
    """A network as EDM pickles it: modules within modules, each with its source."""
    parameters = {n: a for n, a in state.items() if "." not in n}
    buffers = {n: parameters.pop(n) for n in ("resample_filter",) if n in parameters}
    parts = {}
    for name, array in state.items():
        part, dot, rest = name.partition(".")
        if dot:
            parts.setdefault(part, {})[rest] = array
    modules = {part: _pickled_network(inner) for part, inner in parts.items()}
    return persistent_module("Part", module_fields(parameters, buffers, modules))


@pytest.mark.slow
def test_a_pickle_of_edm(tmp_path):
    """Its denoiser, with the preconditioning written out (Karras et al., Table 1)."""
    network, state = _with_random_weights(functools.partial(ss.nn.SongUNet, **SMALL), 0)
    whole = persistent_module(
        "EDMPrecond",
        module_fields(modules={"model": _pickled_network(state)}, sigma_data=0.5),
    )
    (tmp_path / "edm.pkl").write_bytes(plain({"ema": whole, "augment_pipe": None}))
    content = ss.models.read_torch(tmp_path / "edm.pkl", inert=True)
    changes = {**SMALL, "augment_size": 0}
    convert_weights(content, "edm_cifar10_ddpmpp", changes=changes).save(tmp_path / "m")
    model = ss.load(tmp_path / "m")
    x = jax.random.normal(jax.random.key(2), SMALL["shape"])
    denoise = eqx.filter_jit(model.denoiser)
    for t in (0.2, 0.8):
        # EDM's levels, evenly spaced in their seventh root.
        ends = 0.002 ** (1 / 7), 80 ** (1 / 7)
        sigma = (ends[0] + t * (ends[1] - ends[0])) ** 7
        spread = np.hypot(sigma, 0.5)
        output = _apply(network, jnp.float32(np.log(sigma) / 4), x / spread)
        expected = 0.25 / spread**2 * x + sigma * 0.5 / spread * output
        scale = float(jnp.abs(expected).max())
        np.testing.assert_allclose(
            denoise(jnp.float32(t), x), expected, atol=1e-4 * scale
        )


@pytest.mark.slow
def test_a_pickle_of_edm2(tmp_path):
    """Its averages are stored in half precision, and its labels are classes."""
    changes = {
        "shape": (8, 8, 3),
        "width": 8,
        "channel_multipliers": (1, 2),
        "blocks_per_level": 1,
        "attention_resolutions": (4,),
        "head_size": 8,
        "num_classes": 5,
    }
    make = functools.partial(ss.nn.EDM2UNet, **changes)
    _, state = _with_random_weights(make, 0)
    halves = {name: array.astype(np.float16) for name, array in state.items()}
    network = ss.nn.load_state_dict(make(key=jax.random.key(0)), halves)
    made = plain({"ema": _pickled_network(halves), "encoder": None})
    (tmp_path / "edm2.pkl").write_bytes(made)
    content = ss.models.read_torch(tmp_path / "edm2.pkl", inert=True)
    model = convert_weights(content, "edm2_imagenet64_s", changes=changes)
    model.save(tmp_path / "m")
    model = ss.load(tmp_path / "m")
    assert eqx.tree_equal(model.denoiser.network, network)
    assert model.card["source"] == "NVlabs/edm2, edm2-img64-s"


@pytest.mark.slow
def test_a_checkpoint_of_ncsnv2(tmp_path):
    """A list whose last entry is the average; the score is that of a level."""
    small = {"base_channels": 4, "shape": (8, 8, 3)}
    make = functools.partial(ss.nn.NCSNv2, **small)
    _, state = _with_random_weights(make, 0)
    network, average = _with_random_weights(make, 1)
    arrays = {"module." + name: tensor(array) for name, array in state.items()}
    shadow = {n: tensor(array) for n, array in average.items() if n != "sigmas"}
    (tmp_path / "checkpoint.pth").write_bytes(archive([arrays, {}, 5, 100, shadow]))
    content = ss.models.read_torch(tmp_path / "checkpoint.pth")
    model = convert_weights(content, "ncsnv2_cifar10", changes=small)
    x = jax.random.normal(jax.random.key(2), small["shape"])
    denoise = eqx.filter_jit(model.denoiser)
    for level in (0, 100, 230):
        sigma = 50.0 * (0.01 / 50.0) ** (level / 231)
        expected = x + sigma**2 * _apply(network, jnp.int32(level), x)
        found = denoise(jnp.float32(1 - level / 231), x)
        scale = float(jnp.abs(expected).max())
        np.testing.assert_allclose(found, expected, atol=1e-4 * scale)


@pytest.mark.slow
def test_a_file_of_another_configuration_is_refused(tmp_path):
    made, _ = _checkpoint("ncsnpp_cifar10_continuous")
    (tmp_path / "checkpoint.pth").write_bytes(made)
    content = ss.models.read_torch(tmp_path / "checkpoint.pth")
    with pytest.raises(ValueError, match=r"missing: .*left over: "):
        convert_weights(content, "ddpmpp_cifar10_continuous", changes=SMALL)
    command = Convert(tmp_path / "checkpoint.pth", "ncsnpp_mars")
    with pytest.raises(
        ValueError, match=r"(?s)no configuration 'ncsnpp_mars'.*ncsnpp_ci"
    ):
        convert.convert(command)


@pytest.mark.slow
def test_the_command(tmp_path, monkeypatch, capsys):
    """With the small network in the place of the published one."""
    name = "ncsnpp_cifar10_continuous"
    known = CONFIGURATIONS[name]
    small = dataclasses.replace(
        known, network=lambda **options: known.network(**SMALL, **options)
    )
    monkeypatch.setattr(convert, "CONFIGURATIONS", {name: small})
    made, _ = _checkpoint(name)
    (tmp_path / "checkpoint_3.pth").write_bytes(made)
    out = tmp_path / "model"
    words = ["convert", str(tmp_path / "checkpoint_3.pth"), name, "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    convert.main()
    assert "model.safetensors" in capsys.readouterr().out
    model = ss.load(out)
    assert model.card["file"] == "checkpoint_3.pth"
    assert model.card["weights"] == "moving average"
    monkeypatch.setattr(sys, "argv", [*words, "--last"])
    convert.main()
    last = ss.load(out)
    assert last.card["weights"] == "last step"
    x = jax.random.normal(jax.random.key(2), SMALL["shape"])
    assert not np.allclose(last.denoiser(0.5, x), model.denoiser(0.5, x))

    (tmp_path / "cut.pth").write_bytes(made[:1000])
    words[1] = str(tmp_path / "cut.pth")
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stop:
        convert.main()
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert re.search(r"error: .*cut\.pth: it is a zip archive", said)
