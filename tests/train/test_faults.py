"""A machine that dies at any moment: what it leaves can be read, and loses nothing."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _deaths import deaths
from regression import assert_same_state, make_data, make_state, shared_step

import softsde as ss
from softsde import train


@pytest.mark.slow
@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_death_between_any_two_operations_of_a_checkpoint(tmp_path, asynchronous):
    """A hundred deaths each leave the newest checkpoint whole."""
    folder = tmp_path / "run"
    state, data, states = make_state(), iter(make_data()), {}
    step = shared_step(None)
    with train.Checkpointer(folder, asynchronous=asynchronous) as checkpoints:
        checkpoints.save(state, data, 0)
        checkpoints.wait()
        states[0] = jax.tree.map(jnp.copy, state)
        # Two are kept, so all but the first two saves remove one, too.
        with deaths(folder, tmp_path / "left") as copies:
            for n in range(1, 5):
                state, _ = step(state, next(data))
                states[n] = jax.tree.map(jnp.copy, state)
                checkpoints.save(state, data, n)
                checkpoints.score(n, 1.0 / n)
            checkpoints.wait()
    assert len(copies) >= 100
    newest = []
    for copy in copies:
        with warnings.catch_warnings():
            # A damaged checkpoint would be passed over with a warning.
            warnings.simplefilter("error", UserWarning)
            with train.Checkpointer(copy) as left:
                found, n = left.restore(make_state(), iter(make_data()))
        assert_same_state(found, states[n])
        newest.append(n)
    # What was once on the disk is never lost again, and the last is what was saved.
    assert newest == sorted(newest)
    assert newest[0] == 0 and newest[-1] == 4 and set(newest) == set(range(5))


@pytest.mark.slow
def test_a_death_while_a_model_is_replaced(tmp_path):
    """The folder holds the old model or the new one, and never a part of each."""
    folder = tmp_path / "model"
    process = ss.soft_blur((4, 4, 1))
    prior = ss.GaussianPrior.fit(process, np.random.default_rng(0).random((9, 4, 4, 1)))

    def model(seed):
        network = ss.nn.MLP((4, 4, 1), width=8, depth=1, key=jax.random.key(seed))
        return ss.Model(ss.Denoiser(network, process), prior, {"seed": seed})

    model(0).save(folder)
    with deaths(folder, tmp_path / "left") as copies:
        for seed in range(1, 4):
            model(seed).save(folder)
    assert len(copies) >= 10
    seen = []
    for copy in copies:
        found = ss.load(copy)
        seed = found.card["seed"]
        expected = jax.tree.leaves(model(seed).denoiser.network)
        for a, b in zip(jax.tree.leaves(found.denoiser.network), expected, strict=True):
            np.testing.assert_array_equal(a, b)
        seen.append(seed)
    assert seen == sorted(seen) and seen[0] == 0 and seen[-1] == 3
