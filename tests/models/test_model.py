"""A model in a folder: equal after a round trip, and never half of one."""

import functools
import json
import os
import signal
import subprocess
import sys
import threading

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde import models
from softsde.models import _folder

SHAPE = (10, 10, 1)


class Shade(ss.corruptions.AbstractCorruption):
    """A corruption of somebody's own, with an array too large for the JSON."""

    weights: jax.Array

    def apply(self, theta, x):
        return x * jnp.exp(-theta * self.weights)


def make_data(dtype=np.float32):
    return np.random.default_rng(0).random((20, *SHAPE), dtype)


@functools.cache
def _parts():
    """A process, a network whose weights are not zero, and a prior."""
    process = ss.soft_blur(SHAPE, max_blur=3.0)
    network = ss.nn.MLP(SHAPE, width=8, depth=1, key=jax.random.key(0))
    network = jax.tree.map(
        lambda x: x + 0.25 if eqx.is_inexact_array(x) else x, network
    )
    return process, network, ss.EmpiricalPrior.fit(process, make_data())


def make_model(scale=1.0, **options):
    process, network, prior = _parts()
    network = jax.tree.map(
        lambda x: scale * x if eqx.is_inexact_array(x) else x, network
    )
    denoiser = ss.Denoiser(network, process, **options)
    return models.Model(denoiser, prior, {"steps": 3, "scale": scale})


def make_other(process, prior=None, **options):
    """A model of another process."""
    denoiser = ss.Denoiser(_parts()[1], process, **options)
    return models.Model(denoiser, prior, {"other": True})


def assert_equal(read, model):
    assert eqx.tree_equal(read.denoiser, model.denoiser, typematch=True)
    assert eqx.tree_equal(read.prior, model.prior, typematch=True)
    assert read.card == model.card


def test_round_trip(tmp_path):
    model = make_model()
    folder = model.save(tmp_path / "new" / "folder")
    assert folder == tmp_path / "new" / "folder"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["model.json", "model.safetensors"]
    assert_equal(models.load(folder), model)
    assert_equal(models.load(str(folder)), model)
    # The process stands in the file once.
    about = json.loads((folder / "model.json").read_text())
    assert about["prior"]["arguments"]["process"] == {"shared": "process"}
    assert models.read_card(folder) == {"steps": 3, "scale": 1.0}


def test_saving_again_replaces(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    make_model().save(tmp_path)
    make_model(2.0).save(tmp_path)
    assert_equal(models.load(tmp_path), make_model(2.0))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["model.json", "model.safetensors", "notes.txt"]


@pytest.mark.parametrize("train_process", [False, True])
def test_what_is_trained_stays_what_is_trained(tmp_path, train_process):
    model = make_model(train_process=train_process)
    model.save(tmp_path)
    read = models.load(tmp_path)
    assert_equal(read, model)
    trained = eqx.filter(read.denoiser, eqx.is_inexact_array)
    levels = jax.tree.leaves(eqx.filter(model.process, eqx.is_inexact_array))
    network = jax.tree.leaves(eqx.filter(model.denoiser.network, eqx.is_inexact_array))
    more = len(levels) if train_process else 0
    assert len(jax.tree.leaves(trained)) == len(network) + more and levels


def test_a_parametrisation_that_is_not_the_default(tmp_path):
    parametrisation = ss.parametrisations.EDM(0.3)
    model = make_other(ss.ve(0.01, 5.0), parametrisation=parametrisation)
    model.save(tmp_path)
    read = models.load(tmp_path)
    assert_equal(read, model)
    assert read.denoiser.parametrisation.sigma_data == 0.3


@pytest.mark.slow
def test_other_priors(tmp_path):
    process = ss.ve(0.01, 5.0)
    data = make_data()
    oracle = ss.oracles.EmpiricalOracle(data)
    for prior in (
        None,
        ss.GaussianPrior.fit(process, data, time=0.5),
        ss.ExactPrior(oracle, process, time=0.5),
    ):
        model = make_other(process, prior)
        model.save(tmp_path)
        read = models.load(tmp_path)
        assert_equal(read, model)
        if prior is not None:
            key = jax.random.key(1)
            assert jnp.array_equal(read.prior.sample(key), prior.sample(key))


def test_a_process_of_ones_own(tmp_path):
    weights = jax.random.uniform(jax.random.key(0), SHAPE)
    process = ss.Process(
        Shade(weights), ss.schedules.Linear(0.0, 3.0), ss.schedules.TwoPhase()
    )
    model = make_other(process)
    model.save(tmp_path)
    with pytest.raises(ValueError, match=r"'Shade', which is not known.*classes="):
        models.load(tmp_path)
    assert_equal(models.load(tmp_path, classes=[Shade]), model)
    # Large arrays of the process are not in the JSON.
    about = json.loads((tmp_path / "model.json").read_text())
    kept = about["process"]["arguments"]["corruption"]["arguments"]["weights"]
    assert kept == {"tensor": "process.corruption.weights"}


@pytest.mark.slow
def test_double_precision(tmp_path, x64):
    data = make_data(np.float64)
    process = ss.soft_blur(SHAPE, max_blur=3.0)
    network = ss.nn.MLP(SHAPE, width=8, depth=1, key=jax.random.key(0))
    network = jax.tree.map(
        lambda x: x.astype(jnp.float64) + 1 / 3 if eqx.is_inexact_array(x) else x,
        network,
    )
    model = models.Model(
        ss.Denoiser(network, process), ss.GaussianPrior.fit(process, data)
    )
    model.save(tmp_path)
    assert_equal(models.load(tmp_path), model)
    with jax.enable_x64(False), pytest.raises(ValueError, match="float64"):
        models.load(tmp_path)


def test_nothing_global_is_changed(tmp_path):
    make_model().save(tmp_path)
    before = (dict(os.environ), os.getcwd(), dict(jax.config.values))
    models.load(tmp_path)
    assert (dict(os.environ), os.getcwd(), dict(jax.config.values)) == before


def test_from_any_directory(tmp_path, monkeypatch):
    model = make_model()
    model.save(tmp_path / "here" / "mine")
    (tmp_path / "here").rename(tmp_path / "there")
    monkeypatch.chdir(tmp_path / "there")
    assert_equal(models.load("mine"), model)


# What a model is made of.


def test_the_prior_must_be_of_the_process():
    model = make_model()
    other = ss.soft_blur(SHAPE, max_blur=4.0)
    data = make_data()
    with pytest.raises(ValueError, match="another process than the denoiser's"):
        models.Model(model.denoiser, ss.GaussianPrior.fit(other, data))


def test_parts_of_another_kind(as_a_user):
    model = make_model()
    with pytest.raises(TypeError, match="`Model` got MLP for `denoiser`"):
        models.Model(model.denoiser.network, model.prior)
    with pytest.raises(TypeError, match="`Model` got str for `prior`"):
        models.Model(model.denoiser, "gaussian")  # pyright: ignore


@pytest.mark.parametrize(
    "value, message",
    [
        ({1: 2}, "card.a is a dict"),
        ([jnp.zeros(3)], r"card.a\[0\] is a "),
        ({"b": float("nan")}, "card.a.b is nan"),
        (float("inf"), "card.a is inf"),
        (print, "card.a is a builtin"),
    ],
)
def test_cards_are_plain_data(value, message):
    with pytest.raises((TypeError, ValueError), match=message):
        models.Model(make_model().denoiser, None, {"a": value})


def test_cards_are_as_they_will_be_read(tmp_path):
    card = {"a": (1, np.float32(0.5), np.asarray(3)), "b": {"c": None, "d": True}}
    model = models.Model(make_model().denoiser, None, card)
    assert model.card == {"a": [1, 0.5, 3], "b": {"c": None, "d": True}}
    model.save(tmp_path)
    assert models.load(tmp_path).card == model.card


def test_the_text_of_a_model():
    text = repr(make_model())
    for part in ("MLP", "Residual", "GaussianBlur", "(10, 10, 1)", "EmpiricalPrior"):
        assert part in text
    assert len(text) < 120
    assert "no prior" in repr(make_other(ss.ve()))


def test_denoisers_that_cannot_be_saved(tmp_path):
    process = ss.ve(0.01, 5.0)
    oracle = ss.oracles.EmpiricalOracle(jnp.ones((3, 2)))
    for denoiser in (
        oracle.denoiser(process),
        ss.FunctionDenoiser(lambda t, x: x, process),
    ):
        name = type(denoiser).__name__
        with pytest.raises(ValueError, match=f"got `{name}`. Save the denoiser inside"):
            models.Model(denoiser).save(tmp_path)
    plain = ss.Denoiser(lambda t, x, condition, *, key: x, process)
    with pytest.raises(ValueError, match="network is a function"):
        models.Model(plain).save(tmp_path)
    relevelled = ss.Process(
        ss.corruptions.Relevel(ss.corruptions.Fade(), lambda level: level),
        ss.schedules.Linear(0.0, 1.0),
        ss.schedules.TwoPhase(),
    )
    with pytest.raises(ValueError, match=r"process.corruption.level_map is a function"):
        make_other(relevelled).save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "model").write_text("")
    with pytest.raises(FileExistsError, match="is a file"):
        make_model().save(tmp_path / "model")


# Killed while saving, read while saving.

KILLED = """
import os, signal, sys
import numpy as np
from softsde.models import _folder

die = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "before":
    _folder.write_json = die
else:
    rename = os.replace
    os.replace = lambda a, b: die() if a.name.startswith("model-") else rename(a, b)
_folder.write(sys.argv[1], "model", {"value": 2}, {"value": np.full(3, 2)})
"""


@pytest.mark.parametrize("moment, expected", [("before", 1), ("after", 2)])
def test_killed_between_the_two_files(tmp_path, moment, expected):
    write, read = _folder.write, _folder.read
    write(tmp_path, "model", {"value": 1}, {"value": np.full(3, 1)})
    result = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), moment], check=False
    )
    assert result.returncode == -signal.SIGKILL
    content, tensors = read(tmp_path, "model")
    assert content == {"value": expected}
    assert np.array_equal(tensors["value"], np.full(3, expected))
    # The next save works, and tidies up.
    write(tmp_path, "model", {"value": 3}, {"value": np.full(3, 3)})
    content, tensors = read(tmp_path, "model")
    assert content == {"value": 3} and np.array_equal(tensors["value"], np.full(3, 3))
    names = [path.name for path in tmp_path.glob("model*")]
    assert sorted(names) == ["model.json", "model.safetensors"]


def test_read_while_it_is_saved(tmp_path):
    def save(value):
        _folder.write(tmp_path, "model", {"value": value}, {"value": np.full(9, value)})

    save(0)
    done = threading.Event()
    failures = []

    def read():
        while not done.is_set():
            try:
                content, tensors = _folder.read(tmp_path, "model")
                assert np.array_equal(tensors["value"], np.full(9, content["value"]))
            except Exception as error:
                failures.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    for value in range(1, 60):
        save(value)
    done.set()
    reader.join()
    assert not failures


# Sampling.


def make_exact():
    r"""$x_0 \sim N(1, 0.5^2)$ in two dimensions, with its exact denoiser."""
    process = ss.ve(0.01, 5.0)
    oracle = ss.oracles.GaussianOracle(jnp.ones(2), 0.25 * jnp.eye(2))
    return models.Model(oracle.denoiser(process), ss.ExactPrior(oracle, process))


@pytest.mark.slow
def test_samples_have_the_law_of_the_data():
    drawn = make_exact().sample(4000, steps=40, clock="ode")
    assert drawn.shape == (4000, 2) and isinstance(drawn, np.ndarray)
    # Four standard errors of the mean and of the standard deviation, for 8000 numbers;
    # the flow's own error at 40 steps is below 1 %.
    assert abs(drawn.mean() - 1) < 4 * 0.5 / 8000**0.5
    assert abs(drawn.std() - 0.5) < 4 * 0.5 / 16000**0.5 + 0.005


def test_the_seed_fixes_each_sample():
    model = make_exact()
    many = model.sample(10, steps=5)
    for other in (model.sample(3, steps=5), model.sample(3, steps=5, batch_size=2)):
        np.testing.assert_allclose(other, many[:3], rtol=0, atol=1e-4)
    assert np.array_equal(model.sample(10, steps=5), many)
    assert np.abs(model.sample(10, seed=1, steps=5) - many).min() > 1e-3


def test_all_devices_are_used(monkeypatch):
    from softsde.models import _model

    asked = {}

    def draw(denoiser, **options):
        asked.update(options)
        return ss.Samples(jnp.zeros((4, 2)), None)

    monkeypatch.setattr(_model, "sample", draw)
    make_exact().sample(4, steps=2)
    assert asked["mesh"].shape == {"data": len(jax.local_devices())}
    assert asked["batch_size"] == 256 and not asked.get("progress", False)


@pytest.mark.slow
def test_conditions():
    process = ss.ve(0.01, 5.0)
    oracle = ss.oracles.MixtureOracle(
        [0.5, 0.5], jnp.asarray([[-2.0], [2.0]]), 0.01 * jnp.ones((2, 1, 1))
    )
    model = models.Model(oracle.denoiser(process), ss.ExactPrior(oracle, process))
    labels = np.asarray([0, 1, 1, 0])
    drawn = model.sample(4, condition=labels, steps=20, clock="ode")
    assert np.array_equal(np.sign(drawn[:, 0]), [-1, 1, 1, -1])


@pytest.mark.slow
def test_where_sampling_starts():
    model = make_exact()
    without = models.Model(model.denoiser)
    with pytest.raises(ValueError, match="has no prior to start from"):
        without.sample(3)
    a, b = without.sample(3, steps=3, prior=model.prior), model.sample(3, steps=3)
    assert np.array_equal(a, b)
    x1 = 5 * jax.random.normal(jax.random.key(0), (3, 2))
    assert without.sample(3, steps=3, x1=x1).shape == (3, 2)
    for name in ("key", "num_samples"):
        with pytest.raises(ValueError, match=f"`Model.sample` got `{name}`"):
            model.sample(3, **{name: 1})
