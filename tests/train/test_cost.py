"""The cost of programs whose cost is known."""

import jax
import jax.numpy as jnp
import pytest

from softsde import train
from softsde.train._cost import find_collectives

FLOAT = 4


def test_a_matrix_product():
    m, k, n = 32, 48, 64
    a = jnp.ones((m, k), jnp.float32)
    b = jnp.ones((k, n), jnp.float32)
    cost = train.program_cost(jax.jit(jnp.matmul).lower(a, b).compile())
    assert cost.flops == 2 * m * k * n
    assert cost.bytes_accessed == FLOAT * (m * k + k * n + m * n)
    assert cost.peak_bytes >= FLOAT * (m * k + k * n + m * n)
    assert cost.state_bytes == 0
    assert cost.seconds is None
    assert cost.collectives == {}


def test_donated_arrays_are_the_state():
    x = jnp.ones((1000,), jnp.float32)
    add = jax.jit(lambda x: x + 1.0, donate_argnums=0)
    assert train.program_cost(add.lower(x).compile()).state_bytes == 1000 * FLOAT


def test_exchanges_of_a_sum_over_devices():
    mesh = train.make_mesh(2)
    batch = train.shard_batch({"x": jnp.ones((8, 16), jnp.float32)}, mesh)
    total = jax.jit(lambda x: jnp.sum(x, axis=0))
    cost = train.program_cost(total.lower(batch["x"]).compile())
    assert cost.collectives == {"all-reduce": (1, 16 * FLOAT)}


@pytest.mark.parametrize(
    "line, found",
    [
        (
            "%r = f32[64,2]{1,0} all-reduce(f32[64,2]{1,0} %x), channel_id=1",
            {"all-reduce": (1, 512)},
        ),
        (
            "%r = (f32[8]{0}, bf16[4,4]{1,0}) all-reduce(%x, %y), channel_id=2",
            {"all-reduce": (1, 64)},
        ),
        (
            "ROOT %g = (f32[8]{0}, f32[16]{0}) all-gather-start(f32[8]{0} %x)",
            {"all-gather": (1, 64)},
        ),
        ("%d = f32[16]{0} all-gather-done((f32[8]{0}, f32[16]{0}) %g)", {}),
        (
            "%s = f32[2,8]{1,0:T(8,128)} reduce-scatter(f32[4,8]{1,0} %x), dim={0}",
            {"reduce-scatter": (1, 64)},
        ),
        ("%a = f32[8]{0} add(f32[8]{0} %all-reduce.1, f32[8]{0} %y)", {}),
    ],
)
def test_exchanges_in_a_text(line, found):
    assert find_collectives(f"HloModule m\n  {line}\n") == found


def test_a_sum_and_a_slice_in_one_are_a_reduce_scatter():
    """As libtpu writes it; the computation is called once, by a fusion."""
    text = """HloModule m

%all-reduce-scatter.1 (input_0: f32[64,128], input_1: f32[8]) -> (f32[64,16], f32[1]) {
  %r = (f32[64,128]{1,0:T(8,128)}, f32[8]{0}) all-reduce(%input_0, %input_1), dims={}
  ROOT %s = (f32[64,16]{1,0}, f32[1]{0}) tuple(%a, %b)
}

ENTRY %main (x: f32[64,128]) -> f32[64,16] {
  %f = (f32[64,16], f32[1]) fusion(%x, %y), kind=kCustom, calls=%all-reduce-scatter.1
  %t = f32[4]{0} all-reduce(%z), channel_id=3
}
"""
    assert find_collectives(text) == {
        "reduce-scatter": (1, FLOAT * (64 * 16 + 1)),
        "all-reduce": (1, FLOAT * 4),
    }
