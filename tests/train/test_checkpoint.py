"""Checkpoints: everything comes back, and nothing that should not."""

import dataclasses
import json
import re
import shutil

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from regression import (
    Linear,
    assert_same_state,
    make_data,
    make_model,
    make_state,
    shared_step,
)

from softsde import train

# orbax leaves other reads behind when one fails, and Python says so when they end.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


def advance(state, data, count, num_devices=None):
    for _ in range(count):
        state, _ = shared_step(num_devices)(state, next(data))
    return state


@dataclasses.dataclass(frozen=True)
class Config:
    width: int = 64
    levels: tuple[float, ...] = (0.5, 1.0)
    optimiser: dict = dataclasses.field(default_factory=lambda: {"rate": 1e-4})


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder with the checkpoints of steps 2 and 4, and copies of the states."""
    folder = tmp_path_factory.mktemp("original")
    state, data, states = make_state(), iter(make_data()), {}
    with train.Checkpointer(folder, config=Config()) as checkpoints:
        for n in (2, 4):
            state = advance(state, data, 2)
            states[n] = jax.tree.map(jnp.copy, state)
            checkpoints.save(state, data, n)
    return folder, states


@pytest.fixture
def two(original, tmp_path):
    """The same, to be damaged at will."""
    folder, states = original
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return tmp_path, states


@pytest.mark.parametrize("asynchronous", [True, False])
def test_everything_comes_back(tmp_path, asynchronous):
    state, data = make_state(3), iter(make_data())
    state = advance(state, data, 3)
    kept = jax.tree.map(jnp.copy, state)
    with train.Checkpointer(tmp_path, asynchronous=asynchronous) as checkpoints:
        checkpoints.save(state, data, 3, extra={"note": [1.5, None]})
        # The next steps take the memory of the state while it is being written.
        state = advance(state, data, 20)
        checkpoints.wait()
        assert checkpoints.latest_step() == 3
        assert checkpoints.about(3)["extra"] == {"note": [1.5, None]}
        elsewhere = iter(make_data())
        restored, n = checkpoints.restore(make_state(), elsewhere)
    assert n == 3
    assert_same_state(restored, kept)
    assert_same_state(advance(restored, elsewhere, 20), state)


def test_what_is_saved_is_what_was_there_when_asked(tmp_path):
    """Writing goes on in the background, and so does the caller."""
    extra = {"sums": {"loss": 1.0}}
    with train.Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(make_state(), None, 1, extra=extra)
        extra["sums"]["loss"] += 1.0
        checkpoints.wait()
        assert checkpoints.about(1)["extra"] == {"sums": {"loss": 1.0}}


class Zoo(eqx.Module):
    linear: Linear
    half: jax.Array
    flags: jax.Array
    empty: jax.Array
    complex: jax.Array
    layers: list
    names: dict
    rate: float
    activation: object


@pytest.mark.slow
def test_every_kind_of_leaf(tmp_path):
    def make(x):
        return Zoo(
            make_model(),
            jnp.full((3,), x, jnp.bfloat16),
            jnp.array([x > 1, True]),
            jnp.zeros((0, 4)),
            jnp.array([x + 2j]),
            [jnp.array(x), None, jnp.array(7)],
            {"a.b/c": jnp.array(x), "d e": jnp.array([[x]])},
            x,
            jnp.tanh,
        )

    state, blank = make_state(model=make(1.25)), make_state(model=make(0.5))
    legacy = jnp.array([1, 2], jnp.uint32)
    for key in (jax.random.key(5), jax.random.key(5, impl="rbg"), legacy):
        state = eqx.tree_at(lambda s: s.key, state, key)
        like = eqx.tree_at(lambda s: s.key, blank, key)
        with train.Checkpointer(tmp_path) as checkpoints:
            checkpoints.save(state, None, 0)
            checkpoints.wait()
            restored, _ = checkpoints.restore(like)
        # What is no array comes from the model that is built anew.
        rate, restored = restored.model.rate, eqx.filter(restored, eqx.is_array)
        assert rate == 0.5
        expected = eqx.filter(state, eqx.is_array)
        assert eqx.tree_equal(restored, expected, typematch=True)
        shutil.rmtree(tmp_path)


@pytest.mark.parametrize("before, after", [(1, 2), (2, 1)])
def test_number_of_devices_may_change(tmp_path, before, after):
    mesh = train.make_mesh(after)
    data = iter(make_data())
    state = advance(make_state(), data, 3, before)
    kept = jax.tree.map(jnp.copy, state)
    with train.Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(state, data, 3)
        checkpoints.wait()
        like = train.shard_state(make_state(), mesh)
        restored, _ = checkpoints.restore(like, iter(make_data()))
    assert_same_state(restored, kept)
    for x in jax.tree.leaves(eqx.filter(restored, eqx.is_array)):
        assert x.sharding.device_set == set(mesh.devices.flat)
    advance(restored, data, 1, after)


def test_same_configuration(two):
    folder, _ = two
    again = {"width": 64, "levels": [0.5, 1.0], "optimiser": {"rate": 0.0001}}
    for config in (Config(), again):
        with train.Checkpointer(folder, config=config) as checkpoints:
            _, n = checkpoints.restore(make_state(), iter(make_data()))
            assert n == 4


def test_another_configuration(two):
    folder, _ = two
    other = {"width": 32, "levels": [0.5, 1.0], "optimiser": {"rate": 3e-4, "b": 1}}
    with train.Checkpointer(folder, config=other) as checkpoints:
        with pytest.raises(ValueError) as error:
            checkpoints.restore(make_state(), iter(make_data()))
    message = str(error.value)
    assert "step 4" in message and "another configuration" in message
    assert "width: 64 in the checkpoint, 32 asked for" in message
    assert "optimiser.rate: 0.0001 in the checkpoint, 0.0003 asked for" in message
    assert "optimiser.b: absent in the checkpoint, 1 asked for" in message
    assert "levels" not in message


def test_configuration_that_is_no_data(tmp_path):
    with pytest.raises(TypeError, match=r"`config` must be a dataclass.*got a.*tanh"):
        train.Checkpointer(tmp_path, config={"activation": jnp.tanh})


def test_another_model(two):
    folder, _ = two
    other = make_state(model=Linear(jnp.zeros((5, 3)), jnp.zeros(2)))
    with train.Checkpointer(folder, config=Config()) as checkpoints:
        with pytest.raises(ValueError) as error:
            checkpoints.restore(other)
    message = str(error.value)
    assert "holds other arrays than the state" in message
    assert (
        ".model.weight: float32[5,2] in the checkpoint, float32[5,3] in the state"
        in message
    )
    assert ".model.bias" not in message


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def cut(*files):
    for file in files:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_a_bit(folder):
    """In the middle of the data: nothing but a checksum notices."""
    for file in folder.rglob("d/*"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 4
        file.write_bytes(content)


def change_a_number(folder):
    """Wrong numbers in a whole file: only a checksum can tell."""
    file = folder / "about" / "metadata"
    about = json.loads(file.read_text())
    about["checksums"][".model.weight"] ^= 1
    file.write_text(json.dumps(about))


DAMAGES = {
    "data gone": lambda folder: remove(folder / "state"),
    "data cut": lambda folder: cut(*folder.rglob("d/*")),
    "bit flipped": flip_a_bit,
    "number changed": change_a_number,
    "description gone": lambda folder: remove(folder / "about"),
    "description cut": lambda folder: cut(folder / "about" / "metadata"),
    "description empty": lambda f: (f / "about" / "metadata").write_text("{}"),
    "folder empty": lambda folder: [remove(path) for path in folder.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_costs_one_checkpoint(two, damage):
    folder, states = two
    DAMAGES[damage](folder / "4")
    with train.Checkpointer(folder, config=Config()) as checkpoints:
        data = iter(make_data())
        with pytest.warns(UserWarning, match=r"Damaged.*step 4, .*Went back to step 2"):
            restored, n = checkpoints.restore(make_state(), data)
        assert n == 2
        assert_same_state(restored, states[2])
        # Going on comes to the damaged step again, and now it is whole.
        restored = advance(restored, data, 2)
        checkpoints.save(restored, data, 4)
        checkpoints.wait()
        again, n = checkpoints.restore(make_state())
    assert n == 4
    assert_same_state(again, states[4])
    assert (folder / "damaged-4").is_dir()


def test_nothing_but_damage(two):
    folder, _ = two
    for n in (2, 4):
        flip_a_bit(folder / str(n))
    with train.Checkpointer(folder, config=Config()) as checkpoints:
        with pytest.raises(RuntimeError, match=r"Every checkpoint.*step 4.*step 2"):
            checkpoints.restore(make_state())
    assert (folder / "4").is_dir(), "nothing is renamed when nothing is restored"


def test_no_checkpoint(tmp_path):
    with train.Checkpointer(tmp_path) as checkpoints:
        assert checkpoints.latest_step() is None
        with pytest.raises(FileNotFoundError, match=r"no checkpoint in.*Train first"):
            checkpoints.restore(make_state())
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        train.Checkpointer(tmp_path / "nowhere", read_only=True)


def test_which_are_kept(tmp_path):
    state = make_state()
    with train.Checkpointer(tmp_path, keep=2, keep_every=20) as checkpoints:
        for n in range(5, 55, 5):
            checkpoints.save(state, None, n)
        checkpoints.wait()
        assert checkpoints.all_steps() == [20, 40, 45, 50]
    for arguments in ({"keep": 0}, {"keep_every": 0}):
        name = next(iter(arguments))
        with pytest.raises(ValueError, match=f"`{name}` must be at least 1, got 0"):
            train.Checkpointer(tmp_path, **arguments)


class Counter:
    """An iterator whose position is bytes, as that of grain's DataLoader is."""

    def __init__(self):
        self.n = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.n += 1
        return self.n

    def get_state(self):
        return bytes([0, 255, self.n])

    def set_state(self, state):
        assert state[:2] == bytes([0, 255])
        self.n = state[2]


def test_position_in_the_data(tmp_path):
    counter = Counter()
    for _ in range(200):
        next(counter)
    with train.Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(make_state(), counter, 1)
        checkpoints.wait()
        counter = Counter()
        checkpoints.restore(make_state(), counter)
        assert next(counter) == 201
        checkpoints.save(make_state(), None, 2)
        checkpoints.wait()
        with pytest.raises(ValueError, match=r"without a data iterator.*iterator=None"):
            checkpoints.restore(make_state(), counter)


def test_one_writer_and_any_number_of_readers(two):
    folder, states = two
    unfinished = folder / "6.orbax-checkpoint-tmp"
    with train.Checkpointer(folder, config=Config()) as writer:
        writer.wait()
        unfinished.mkdir()
        in_use = re.escape(f"{folder} is in use") + ".*read_only=True"
        with pytest.raises(RuntimeError, match=in_use):
            train.Checkpointer(folder)
        flip_a_bit(folder / "4")
        with train.Checkpointer(folder, config=Config(), read_only=True) as reader:
            with pytest.warns(UserWarning, match="Went back to step 2"):
                restored, _ = reader.restore(make_state())
            with pytest.raises(ValueError, match="opened with `read_only=True`"):
                reader.save(restored, None, 8)
        assert_same_state(restored, states[2])
        assert unfinished.is_dir() and (folder / "4").is_dir()
        assert writer.latest_step() == 4
    with train.Checkpointer(folder) as writer:
        writer.save(restored, None, 8)
        writer.wait()
        assert not unfinished.exists(), "what a killed process left is cleared away"


def test_checkpoints_can_be_read_without_this_library(original):
    """By name, with NumPy arrays: a run outlives the code that made it."""
    import orbax.checkpoint as ocp

    folder, states = original
    arrays = ocp.StandardCheckpointer().restore(folder / "4" / "state")
    np.testing.assert_array_equal(arrays[".ema.weight"], states[4].ema.weight)
    about = json.loads((folder / "4" / "about" / "metadata").read_text())
    assert about["config"]["width"] == 64 and about["step"] == 4
