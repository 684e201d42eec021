"""SongUNet: the outputs of the published code, from its own weights.

`data/song_unet.npz` holds a small instance of EDM's DDPM++ with labels, all of whose
parameters are random, and what the published code (github.com/NVlabs/edm at 008a4e53)
computes from them in double precision: the denoised images, so its preconditioning is
part of the comparison.
"""

import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

import softsde as ss

DATA = pathlib.Path(__file__).parent / "data" / "song_unet.npz"
OPTIONS = {
    "shape": (16, 16, 3),
    "width": 8,
    "channel_multipliers": (2, 2, 2),
    "blocks_per_level": 1,
    "attention_resolutions": (8,),
    "num_classes": 10,
    "augment_size": 9,
}
SMALL = {**OPTIONS, "shape": (8, 8, 3), "attention_resolutions": (4,)}


@pytest.fixture(scope="module")
def vectors():
    with np.load(DATA) as file:
        return dict(file)


def _weights(vectors):
    return {
        name.removeprefix("weight:"): array
        for name, array in vectors.items()
        if name.startswith("weight:")
    }


def _denoised(vectors, dtype):
    network = ss.nn.SongUNet(**OPTIONS, key=jax.random.key(0))
    network = ss.nn.load_state_dict(network, _weights(vectors), prefix="model.")
    network = jax.tree.map(
        lambda a: a.astype(dtype) if eqx.is_inexact_array(a) else a, network
    )
    parametrisation, process = ss.parametrisations.EDM(0.5), ss.edm()

    @jax.jit
    def denoise(sigma, x, condition):
        t = process.noise.inverse(sigma)
        seen, shown = parametrisation.network_input(process, t, x)
        output = network(seen, shown, condition)
        return parametrisation.to_clean(process, t, x, output)

    last = lambda image: jnp.asarray(np.moveaxis(image, 0, -1), dtype)
    for suffix in ("", "2"):
        for i, sigma in enumerate(vectors["sigma" + suffix]):
            condition = None
            if not suffix:
                condition = {
                    "label": jnp.argmax(jnp.asarray(vectors["class_labels"][i])),
                    "augment": jnp.asarray(vectors["augment_labels"][i], dtype),
                }
            x = last(vectors["x" + suffix][i])
            found = denoise(jnp.asarray(sigma, dtype), x, condition)
            yield found, np.moveaxis(vectors["y_float64" + suffix][i], 0, -1)


def test_it_equals_the_published_code(vectors, x64):
    for found, expected in _denoised(vectors, jnp.float64):
        assert found.dtype == np.float64
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * scale)


@pytest.mark.slow
def test_it_does_in_float32(vectors):
    for found, expected in _denoised(vectors, jnp.float32):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * scale)


@pytest.mark.parametrize(
    ("make", "millions"),
    [(ss.nn.SongUNet.cifar10_ddpmpp, 55.733), (ss.nn.SongUNet.cifar10_ncsnpp, 56.396)],
)
def test_the_published_counts(make, millions):
    """They are those of the networks without augmentation and labels."""
    network = eqx.filter_eval_shape(make, key=jax.random.key(0), augment_size=0)
    arrays = eqx.filter(network, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    count = sum(leaf.size for leaf in jax.tree.leaves(arrays))
    assert round(count / 1e6, 3) == millions


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddpmpp", "ncsnpp"])
def test_a_state_dict_there_and_back(kind):
    """Each array of the network has one name, and filters are what SciPy makes."""
    network = ss.nn.SongUNet(**SMALL, kind=kind, key=jax.random.key(0))
    state = ss.nn.state_dict(network)
    arrays = jax.tree.leaves(eqx.filter(network, eqx.is_array))
    named = [a for name, a in state.items() if not name.endswith("resample_filter")]
    assert sum(a.size for a in named) == sum(a.size for a in arrays)
    assert len(named) == len(arrays)
    other = ss.nn.SongUNet(**SMALL, kind=kind, key=jax.random.key(1))
    assert eqx.tree_equal(ss.nn.load_state_dict(other, state), network)
    # Repeated pixels and averages are the filter of two taps.
    taps = signal.windows.boxcar(2) if kind == "ddpmpp" else np.array([1, 3, 3, 1.0])
    kernel = np.outer(taps, taps) / np.outer(taps, taps).sum()
    found = state["enc.4x4_down.conv0.resample_filter"][0, 0]
    np.testing.assert_allclose(found, kernel, rtol=1e-6)
    assert ("enc.4x4_aux_residual.weight" in state) == (kind == "ncsnpp")


def test_what_does_not_fit_is_refused(as_a_user):
    make = lambda **changes: ss.nn.SongUNet(**SMALL | changes, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"kind='adm'.*expected 'ddpmpp' or 'ncsnpp'"):
        make(kind="adm")
    x = jnp.zeros((8, 8, 3))
    with pytest.raises(ValueError, match=r"made for images of shape \(8, 8, 3\)"):
        make()(0.1, jnp.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match="made without labels"):
        make(num_classes=None)(0.1, x, 3)
    with pytest.raises(ValueError, match="made without augmentation"):
        make(augment_size=0)(0.1, x, {"augment": jnp.zeros(9)})
    with pytest.raises(ValueError, match=r"condition with \['class'\]"):
        make()(0.1, x, {"class": 3})
    with pytest.raises(ValueError, match="height 16"):
        make(attention_resolutions=(16,))
