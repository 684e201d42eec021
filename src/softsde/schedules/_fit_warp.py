r"""Time warps trained by gradient, so that each moment costs as much as any other.

A path is run in the time $t = w(s)$, and $c(t)$ is what it costs there a unit of $t$:
the speed of the law in the Wasserstein metric, the loss of a denoiser. A unit of $s$
then costs $c(w(s))\, w'(s)$, which is even when the inverse $v = w^{-1}$ grows in
proportion to the cost, $v' = c / \int c$. That is where the cross-entropy

$$-\int_0^1 \frac{c(t)}{\int c}\, \log v'(t)\, dt$$

is least, by Gibbs' inequality; and there $\int_0^1 (c(w(s))\, w'(s))^2\, ds$ is least
too, by Cauchy's. The cross-entropy is the better thing to descend on: it is convex in
the logits of a softmax, and linear in the cost, so that a noisy estimate of the cost
pulls in the right direction on average. Nor need the cost have a derivative.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from .._types import Key, Scalar
from ._piecewise_linear import PiecewiseLinear
from ._softmax_warp import SoftmaxWarp


class FittedWarp(eqx.Module):
    """The warp that `fit_warp` trained, and how far it came."""

    #: The clock $w$: the path at time $s$ is where it was at $w(s)$.
    warp: PiecewiseLinear
    #: Its inverse $v$, which was trained: the share of the cost that is spent by $t$.
    progress: SoftmaxWarp
    #: Before each step, the Kullback-Leibler divergence of the steps of the clock from
    #: the costs as they were drawn; 0 is even.
    history: Float[np.ndarray, " steps"]
    #: The cost of a unit of the new time on each piece, over its mean.
    evenness: Float[np.ndarray, " knots"]


def fit_warp(
    cost: Callable[[Scalar, Key], Scalar],
    *,
    num_knots: int = 32,
    progress: SoftmaxWarp | None = None,
    optimiser: optax.GradientTransformation | None = None,
    num_steps: int = 500,
    key: Key,
) -> FittedWarp:
    r"""Trains a warp along which the cost is spent evenly.

    Gradient descent on the cross-entropy of a [`softsde.schedules.SoftmaxWarp`][] with
    the cost, at one time drawn in each of its pieces.

    Where the cost is known and stays, this is the slow way to the inverse of its
    integral. It is meant for one that is noisy or moves: called again with the last
    `progress` now and then in training, it follows the loss.

    **Arguments:**

    - `cost`: $c(t) \ge 0$ for $t \in [0, 1]$, or an estimate of it, from a time and a
        key: [`softsde.schedules.transport_speed`][] of a process, the loss of a
        denoiser on a batch. A table of values is one by
        `lambda t, key: jnp.interp(t, times, values)`.
    - `num_knots`: pieces of the warp.
    - `progress`: to start from, instead of the identity of so many pieces.
    - `optimiser`: by default Adam, its rate falling from 0.1 to nothing.
    - `num_steps`: of the optimiser.
    - `key`: for the times, and for the cost.

    **Returns:** a [`softsde.schedules.FittedWarp`][].

    **Raises:** `ValueError` for fewer than two pieces, no steps, or a cost that is
    negative, zero throughout, or no number.

    !!! example

        ```python
        cost = lambda t, key: 1 + 4 * t  # most at the end
        fitted = ss.schedules.fit_warp(cost, num_knots=16, key=key)
        even = ss.Process(
            process.corruption,
            ss.schedules.TimeWarp(process.levels, fitted.warp),
            ss.schedules.TimeWarp(process.noise, fitted.warp),
        )
        ```

    ??? cite "Reference"

        For score models and a cost of their own, by the inverse of the integral:
        Williams, Campbell, Doucet and Syed, *Score-Optimal Diffusion Schedules*,
        NeurIPS 2024.
    """
    if progress is None:
        if num_knots < 2:
            raise ValueError(
                f"`fit_warp` got `num_knots={num_knots}`; one piece is a straight line "
                "and has nothing to fit. Expected at least 2."
            )
        progress = SoftmaxWarp(jnp.zeros(num_knots))
    if num_steps < 1:
        raise ValueError(
            f"`fit_warp` got `num_steps={num_steps}`; expected at least 1."
        )
    if optimiser is None:
        optimiser = optax.adam(optax.cosine_decay_schedule(0.1, num_steps))
    trained = _train(cost, progress, optimiser, num_steps, key)
    progress, history, shares = trained
    assert progress is not None  # for pyright, which takes jit's word for less
    if not np.isfinite(np.asarray(shares)).all() or np.min(shares) < 0:
        raise ValueError(
            "`fit_warp` needs a `cost` that is finite, not negative and not zero "
            f"throughout; as shares of their sum its values are {np.asarray(shares)}."
        )
    knots = progress.knots()
    evenness = np.asarray(shares) / np.diff(np.asarray(knots, np.float64))
    warp = PiecewiseLinear(knots, jnp.linspace(0, 1, knots.size, dtype=knots.dtype))
    return FittedWarp(warp, progress, np.asarray(history), evenness)


@eqx.filter_jit
def _train(cost, progress, optimiser, num_steps: int, key):
    """The trained progress, its divergences, and the mean shares of the cost."""
    pieces = jnp.arange(progress.logits.size, dtype=progress.logits.dtype)

    def shares(key: Key) -> Float[Array, " knots"]:
        # One offset in all pieces, so that a smooth cost is read evenly.
        time_key, cost_key = jax.random.split(key)
        offset = jax.random.uniform(time_key, (), pieces.dtype)
        times = (pieces + offset) / pieces.size
        keys = jax.random.split(cost_key, pieces.size)
        values = jax.vmap(cost)(times, keys).astype(pieces.dtype)
        return values / jnp.sum(values)

    def step(carry, key):
        progress, state, mean = carry
        share = shares(key)

        def divergence(progress):
            steps = jax.nn.log_softmax(progress.logits)
            return jnp.sum(jax.scipy.special.xlogy(share, share) - share * steps)

        value, gradient = jax.value_and_grad(divergence)(progress)
        # Optax itself raises a number to the power of a counter.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimiser.update(gradient, state, progress)
        progress = eqx.apply_updates(progress, updates)
        return (progress, state, mean + share / num_steps), value

    start = (progress, optimiser.init(progress), jnp.zeros_like(pieces))
    keys = jax.random.split(key, num_steps)
    (progress, _, mean), history = jax.lax.scan(step, start, keys)
    return progress, history, mean
