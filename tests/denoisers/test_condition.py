"""The value of a condition that says nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softsde.denoisers import unconditional


def test_labels_become_minus_one_and_vectors_zero():
    condition = {
        "label": jnp.array([3, 1], jnp.int16),
        "vector": jnp.ones((2, 4), jnp.bfloat16),
        "number": 2,
        "nothing": None,
    }
    empty = unconditional(condition)
    assert jax.tree.structure(empty) == jax.tree.structure(condition)
    np.testing.assert_array_equal(empty["label"], [-1, -1])
    np.testing.assert_array_equal(empty["vector"], np.zeros((2, 4)))
    assert int(empty["number"]) == -1
    assert empty["label"].dtype == jnp.int16
    assert empty["vector"].dtype == jnp.bfloat16
    assert unconditional(None) is None


def test_under_a_transformation():
    got = jax.jit(jax.vmap(unconditional))((jnp.arange(3), jnp.ones((3, 2))))
    np.testing.assert_array_equal(got[0], [-1, -1, -1])
    np.testing.assert_array_equal(got[1], np.zeros((3, 2)))


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.bool_])
def test_what_has_no_minus_one_is_refused(dtype):
    with pytest.raises(TypeError, match=r"no value that says nothing.*int32"):
        unconditional(jnp.ones(2, dtype))
