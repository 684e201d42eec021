"""Averages of other lengths, from those that a run has stored."""

import dataclasses

import equinox as eqx
import jax
import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_run import steps, tiny

import softsde as ss
from experiments import average, train
from experiments._build import Parts, make_source
from experiments._scale import ScaleConfig
from experiments._spec import Spec


def with_averages(**changes):
    optimiser = dataclasses.replace(
        tiny().optimiser, sigma_rel=(0.05, 0.1), average_every=2
    )
    return tiny(optimiser=optimiser, **changes)


def _weights(model):
    return jax.tree.leaves(eqx.filter(model.denoiser.network, eqx.is_inexact_array))


@pytest.mark.slow
def test_a_stored_length_is_what_was_stored(tmp_path):
    """Also after a stop, and of an earlier step; another length is another average."""
    folder = tmp_path / "run"
    train.train(steps(with_averages(), 4), folder)
    train.train(steps(with_averages(), 6), folder)
    stored = sorted(path.name for path in (folder / "averages").glob("*.safetensors"))
    assert [int(name[5:14]) for name in stored] == [2, 4, 6]
    for step in (6, 4):
        command = average.Average(
            str(folder), sigma_rel=0.1, step=step, folder=tmp_path / str(step)
        )
        paths = average.average(command)
        model = ss.load(paths[0].parent)
        assert model.card["steps"] == step and model.card["sigma_rel"] == 0.1
        arrays = load_file(folder / "averages" / f"step_{step:09d}.safetensors")
        kept = [a for name, a in arrays.items() if name.startswith("['0.1'].network")]
        found = _weights(model)
        order = lambda arrays: sorted(float(np.sum(np.abs(a))) for a in arrays)
        np.testing.assert_allclose(order(found), order(kept), rtol=1e-5, atol=1e-7)
    other = average.average(average.Average(str(folder), sigma_rel=0.2))
    assert other[0].parent == folder / "averages" / "0.2"
    changed = _weights(ss.load(other[0].parent))
    last = _weights(ss.load(tmp_path / "6"))
    assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(changed, last, strict=True))


@pytest.mark.slow
def test_mistakes(run, tmp_path):
    with pytest.raises(ValueError, match=r"no stored averages\. Train a run with"):
        average.average(average.Average(str(run)))
    folder = tmp_path / "run"
    train.train(steps(with_averages(), 2), folder)
    with pytest.raises(ValueError, match=r"`--sigma-rel`: .* between 0 and 0.2887"):
        average.average(average.Average(str(folder), sigma_rel=0.5))
    with pytest.raises(ValueError, match=r"`--step 3`: stored are 2, up to 2"):
        average.average(average.Average(str(folder), step=3))
    changed = dataclasses.replace(with_averages().optimiser, sigma_rel=(0.2,))
    with pytest.raises(ValueError, match=r"optimiser\.sigma-rel"):
        train.train(tiny(optimiser=changed), folder)


def test_a_length_that_no_average_has_is_refused(tmp_path):
    wrong = dataclasses.replace(tiny().optimiser, sigma_rel=(0.5,))
    with pytest.raises(
        ValueError, match=r"`--optimiser.sigma-rel`: .* got `sigma_rel="
    ):
        train.train(tiny(optimiser=wrong), tmp_path / "run", scale=ScaleConfig())
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_weights_of_edm2_keep_their_length():
    """The optimiser of that network ends with the step that keeps them."""
    options = {
        "width": 8,
        "channel_multipliers": (1, 2),
        "attention_resolutions": (4,),
        "head_size": 8,
    }
    config = tiny(network=Spec("EDM2UNet", options))
    parts = Parts(config, make_source(config.data))
    network = eqx.filter(parts.network(), eqx.is_inexact_array)
    optimiser = parts.optimiser()
    gradient = jax.tree.map(np.ones_like, network)
    state = optimiser.init(network)
    for _ in range(3):
        # As the train step does.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimiser.update(gradient, state, network)
        network = jax.tree.map(lambda a, u: a + u, network, updates)
    lengths = np.sqrt(np.mean(np.asarray(network.stem.weight) ** 2, axis=(0, 1, 2)))
    np.testing.assert_allclose(lengths, 1.0, rtol=3e-4)
