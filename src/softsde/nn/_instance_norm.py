"""Instance normalisation++ of Song and Ermon, plain and conditioned on a level."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ._at_size import at_least_float32
from ._initial_weights import full, initial_weight
from ._published import MATRIX, VECTOR, Place, places

_EPS = 1e-5


class InstanceNormPlus(eqx.Module):
    r"""Instance normalisation that keeps the means of the channels.

    $$y_k = \gamma_k \Big( \frac{x_k - \mu_k}{\sqrt{s_k^2 + \epsilon}}
    + \alpha_k \frac{\mu_k - m}{\sqrt{v + \epsilon}} \Big) + \beta_k$$

    for channel $k$ with mean $\mu_k$ and variance $s_k^2$ over the pixels; $m$ and $v$
    are mean and unbiased variance of the $\mu_k$ over the channels, and
    $\epsilon = 10^{-5}$. Plain instance normalisation removes the $\mu_k$, and with
    them the colours of an image. Means and variances are taken in at least float32.

    ??? cite "References"

        Song and Ermon, *Generative Modeling by Estimating Gradients of the Data
        Distribution*, NeurIPS 2019, Appendix A.1 (there $\gamma$ does not multiply
        $\alpha$; in the published programs it does). Song and Ermon, *Improved
        Techniques for Training Score-Based Generative Models*, NeurIPS 2020.
    """

    gamma: Float[Array, " channels"]
    alpha: Float[Array, " channels"]
    beta: Float[Array, " channels"]

    def __init__(self, channels: int, *, key: PRNGKeyArray):
        """**Arguments:**

        - `channels`: length of the last axis, at least 2.
        - `key`: for the initial `gamma` and `alpha`, normal around 1 with standard
            deviation 0.02. `beta` starts at zero.

        **Raises:** `ValueError` for a single channel, whose mean has no variance.
        """
        _check_channels("InstanceNormPlus", channels)
        drawn = _near_one(key, (2, channels))
        self.gamma, self.alpha = drawn[0], drawn[1]
        self.beta = full(0.0, channels)

    def __call__(
        self,
        x: Float[Array, "height width channels"],
        level: Int[Array, ""] | None = None,
    ) -> Float[Array, "height width channels"]:
        """**Arguments:**

        - `x`: a feature map.
        - `level`: unused; [`softsde.nn.ConditionalInstanceNormPlus`][] reads it.

        **Returns:** an array shaped like `x`, of its dtype.
        """
        del level
        return _normalise(x, self.gamma, self.alpha, self.beta)

    def state_names(self) -> dict[str, Place]:
        """The names of its original."""
        return places(*((name, name, VECTOR) for name in ("alpha", "gamma", "beta")))


class ConditionalInstanceNormPlus(eqx.Module):
    r"""Instance normalisation++ whose scales and shift depend on the level of noise.

    The formula is that of [`softsde.nn.InstanceNormPlus`][]. Row $i$ of `embed` holds
    $(\gamma, \alpha, \beta)$ of level $i$, one after the other.

    ??? cite "References"

        Song and Ermon, *Generative Modeling by Estimating Gradients of the Data
        Distribution*, NeurIPS 2019, Appendix A.1.
    """

    embed: Float[Array, "levels features"]

    def __init__(self, channels: int, num_levels: int, *, key: PRNGKeyArray):
        """**Arguments:**

        - `channels`: length of the last axis, at least 2.
        - `num_levels`: number of levels of noise.
        - `key`: for the initial values, as those of
            [`softsde.nn.InstanceNormPlus`][].

        **Raises:** `ValueError` for a single channel, whose mean has no variance.
        """
        _check_channels("ConditionalInstanceNormPlus", channels)
        scales = _near_one(key, (num_levels, 2 * channels))
        shifts = full(0.0, (num_levels, channels))
        self.embed = jnp.concatenate([scales, shifts], axis=1)

    def __call__(
        self, x: Float[Array, "height width channels"], level: Int[Array, ""]
    ) -> Float[Array, "height width channels"]:
        """**Arguments:**

        - `x`: a feature map.
        - `level`: index of the level of noise.

        **Returns:** an array shaped like `x`, of its dtype; NaN for a level that the
            table does not have.
        """
        inside = (level >= 0) & (level < self.embed.shape[0])
        row = jnp.where(inside, self.embed[level], jnp.nan)
        return _normalise(x, *jnp.split(row, 3))

    def state_names(self) -> dict[str, Place]:
        """The names of its original."""
        return places(("embed.weight", "embed", MATRIX))


def _normalise(x: Array, gamma: Array, alpha: Array, beta: Array) -> Array:
    dtype = at_least_float32(x.dtype)
    gamma, alpha, beta = (v.astype(dtype) for v in (gamma, alpha, beta))
    h = x.astype(dtype)
    means = jnp.mean(h, axis=(0, 1))
    centred = h - means[None, None]
    scale = gamma * jax.lax.rsqrt(jnp.mean(centred**2, axis=(0, 1)) + _EPS)
    deviations = means - jnp.mean(means)
    # Divided by the number less one, as torch does by default.
    variance = jnp.sum(deviations**2) / (means.size - 1)
    shift = gamma * alpha * deviations * jax.lax.rsqrt(variance + _EPS) + beta
    return (centred * scale[None, None] + shift[None, None]).astype(x.dtype)


def _near_one(key: PRNGKeyArray, shape: tuple[int, ...]) -> Array:
    return 1 + 0.02 * initial_weight(key, shape, fan_in=1)


def _check_channels(owner: str, channels: int) -> None:
    if channels < 2:
        raise ValueError(
            f"`{owner}` got {channels} channel; expected at least 2, since it takes "
            "the variance of the means of the channels. Use more channels."
        )
