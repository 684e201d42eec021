import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from softsde.metrics._hash import hash_tree


def test_equal_trees_have_equal_hashes(key):
    make = lambda: eqx.nn.MLP(2, 2, 3, 1, key=key)
    assert hash_tree(make()) == hash_tree(make())
    # A bound method prints the address of its function, which differs each time.
    assert hash_tree(make().__call__) == hash_tree(make().__call__)
    # On the host or on a device.
    assert hash_tree([np.ones(3, np.float32)]) == hash_tree([jnp.ones(3)])


def test_any_change_changes_the_hash(key):
    network = eqx.nn.MLP(2, 2, 3, 1, key=key)
    nudged = eqx.tree_at(
        lambda m: m.layers[0].bias, network, network.layers[0].bias.at[1].add(1e-6)
    )
    trees = [
        network,
        nudged,
        eqx.nn.MLP(2, 2, 3, 1, key=jax.random.key(1)),
        # The same arrays under another static field, in another shape or type.
        eqx.nn.MLP(2, 2, 3, 1, use_final_bias=False, key=key),
        [np.zeros(4, np.float32)],
        [np.zeros((2, 2), np.float32)],
        [np.zeros(4, np.int32)],
        [np.zeros(2, np.float64)],
        (np.zeros(4, np.float32),),
    ]
    assert len({hash_tree(tree) for tree in trees}) == len(trees)


def test_long_arrays_are_read_to_their_end():
    long = np.zeros((10_000, 2), np.float32)
    other = long.copy()
    other[-1, 1] = 1
    assert hash_tree(long) != hash_tree(other)
