"""Layers that keep the magnitude of what passes through them, as EDM2 has them.

The magnitude of a vector is the root of its mean square. Where the inputs of a layer
are independent and of magnitude one, so is its output, whatever the weights are.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._at_size import at_least_float32
from ._correlate import correlate
from ._initial_weights import initial_weight, split

# The root mean square of silu of a standard normal.
_SILU = 0.596


def unit_magnitude(
    x: Float[Array, "*shape"], axes: int | tuple[int, ...], *, eps: float = 1e-4
) -> Float[Array, "*shape"]:
    r"""$x / (\epsilon + \operatorname{rms}(x))$, over the given axes.

    **Arguments:**

    - `x`: an array.
    - `axes`: over which the mean square is taken, in at least float32.
    - `eps`: added to the magnitude.

    **Returns:** an array shaped like `x`, of its dtype.
    """
    wide = x.astype(at_least_float32(x.dtype))
    square = jnp.mean(wide**2, axis=axes, keepdims=True)
    # The root of zero has no derivative.
    square = jnp.maximum(square, jnp.finfo(wide.dtype).tiny)
    return x / (eps + jnp.sqrt(square)).astype(x.dtype)


def mp_silu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """SiLU, scaled so that a standard normal keeps its magnitude (Eq. 81)."""
    return jax.nn.silu(x) / _SILU


def mp_sum(
    a: Float[Array, "*shape"], b: Float[Array, "*shape"], balance: float
) -> Float[Array, "*shape"]:
    r"""$((1 - \beta)\, a + \beta\, b) / \sqrt{(1 - \beta)^2 + \beta^2}$ (Eq. 88)."""
    return ((1 - balance) * a + balance * b) / math.hypot(1 - balance, balance)


def mp_concatenate(
    a: Float[Array, "*axes first"], b: Float[Array, "*axes second"], balance: float
) -> Float[Array, "*axes both"]:
    r"""Both along the last axis, scaled to a share of the magnitude each (Eq. 103).

    $a$ of $n_a$ channels is multiplied by $(1 - \beta)\, c / \sqrt{n_a}$ and $b$ of
    $n_b$ by $\beta\, c / \sqrt{n_b}$, where
    $c^2 = (n_a + n_b) / ((1 - \beta)^2 + \beta^2)$.
    """
    first, second = a.shape[-1], b.shape[-1]
    common = math.sqrt(first + second) / math.hypot(1 - balance, balance)
    a = (1 - balance) * common / math.sqrt(first) * a
    b = balance * common / math.sqrt(second) * b
    return jnp.concatenate([a, b], axis=-1)


class MPFourier(eqx.Module):
    r"""$\sqrt 2 \cos(w_i v + p_i)$ at random frequencies and phases (Eq. 75).

    Frequencies $w_i \sim N(0, 4 \pi^2)$ and phases $p_i \sim U(0, 2 \pi)$ are drawn
    once and get no gradient.
    """

    frequencies: Float[Array, " number"]
    phases: Float[Array, " number"]

    def __init__(self, number: int, *, key: PRNGKeyArray):
        """**Arguments:**

        - `number`: of features.
        - `key`: for frequencies and phases.
        """
        keys = split(key)
        turn = jnp.float32(2 * math.pi)
        self.frequencies = turn * jax.random.normal(next(keys), (number,), jnp.float32)
        self.phases = turn * jax.random.uniform(next(keys), (number,), jnp.float32)

    def __call__(self, v: Float[Array, ""]) -> Float[Array, " number"]:
        frequencies = jax.lax.stop_gradient(self.frequencies).astype(v.dtype)
        phases = jax.lax.stop_gradient(self.phases).astype(v.dtype)
        return 2**0.5 * jnp.cos(v * frequencies + phases)


class MPConv(eqx.Module):
    r"""A convolution or linear map whose weights of each output have magnitude one.

    The kernel that is used is $g\, w / (\lVert w \rVert + \epsilon \sqrt n)$, with $n$
    entries $w$ for each output (Eq. 47), so the length of the weights never matters.
    There is no bias.

    A kernel of 1x1 is a linear map of the last axis, of images and vectors alike.
    """

    weight: Float[Array, "*kernel in_size out_size"]

    def __init__(
        self, in_size: int, out_size: int, kernel_size: int = 1, *, key: PRNGKeyArray
    ):
        """**Arguments:**

        - `in_size`, `out_size`: lengths of the last axis before and after.
        - `kernel_size`: odd.
        - `key`: for the initial weights, standard normal.
        """
        kernel = () if kernel_size == 1 else (kernel_size, kernel_size)
        self.weight = initial_weight(key, (*kernel, in_size, out_size), fan_in=1)

    def __call__(
        self, x: Float[Array, "*axes in_size"], gain: Float[Array, ""] | float = 1.0
    ) -> Float[Array, "*axes out_size"]:
        """**Arguments:**

        - `x`: an image, or for a kernel of 1x1 any array.
        - `gain`: magnitude of the output for inputs of magnitude one.

        **Returns:** an array of the dtype of `x`.
        """
        weight = self.weight.astype(at_least_float32(x.dtype))
        fan_in = math.prod(weight.shape[:-1])
        axes = tuple(range(weight.ndim - 1))
        weight = unit_magnitude(weight, axes) * (gain / math.sqrt(fan_in))
        weight = weight.astype(x.dtype)
        if weight.ndim == 2:
            return x @ weight
        return correlate(x, weight, padding=weight.shape[0] // 2)
