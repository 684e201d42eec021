r"""Time warps trained by gradient descent, such that each moment costs the same.

A warp $t = w(s)$ runs a path at another pace. Let $c(t)$ be the cost of a unit of $t$:
the speed of the law in the Wasserstein metric, say, or the loss of a denoiser. A unit
of $s$ then costs $c(w(s))\, w'(s)$. This is constant if the inverse $v = w^{-1}$ grows
in proportion to the cost, $v' = c / \int c$. By Gibbs' inequality that $v$ minimises
the cross-entropy

$$-\int_0^1 \frac{c(t)}{\int c}\, \log v'(t)\, dt,$$

and by Cauchy's inequality it minimises $\int_0^1 (c(w(s))\, w'(s))^2\, ds$ as well. The
cross-entropy is the better objective. It is convex in the logits of a softmax. It is
linear in the cost, so a noisy estimate of the cost gives the right gradient on average.
And the cost needs no derivative.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from .._types import Key, Scalar
from ..schedules import PiecewiseLinear, SoftmaxWarp


class FittedWarp(eqx.Module):
    """The warp that `fit_warp` trained, and how even it is."""

    #: The warp $w$: the new path at time $s$ is the old path at $w(s)$.
    warp: PiecewiseLinear
    #: Its inverse $v$, which was trained: the share of the cost spent until $t$.
    progress: SoftmaxWarp
    #: Before each step, the Kullback-Leibler divergence of the steps of the warp from
    #: the costs that were drawn; 0 is even.
    history: Float[np.ndarray, " steps"]
    #: The cost of a unit of the new time on each piece, over its mean; 1 is even.
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

    It minimises the cross-entropy of a [`softsde.schedules.SoftmaxWarp`][] with the
    cost by gradient descent. Each step draws one time in each piece of the warp.

    If the cost is known and does not change, its integral gives the warp faster. This
    function is for a cost that is noisy or changes. Called now and then during
    training, with its last `progress`, it follows the loss.

    **Arguments:**

    - `cost`: a function of a time and a key that returns $c(t) \ge 0$ for
        $t \in [0, 1]$, or a random estimate of it, such as
        [`softsde.fitting.transport_speed`][] of a process or the loss of a denoiser on
        a batch. For a table of values write
        `lambda t, key: jnp.interp(t, times, values)`.
    - `num_knots`: the number of pieces of the warp.
    - `progress`: the warp to start from; by default the identity with `num_knots`
        pieces.
    - `optimiser`: by default Adam with a rate that falls from 0.1 to 0.
    - `num_steps`: steps of the optimiser.
    - `key`: for the times, and for the cost.

    **Returns:** a [`softsde.fitting.FittedWarp`][].

    **Raises:** `ValueError` for fewer than two pieces, no steps, or a cost that is
    negative, zero throughout, or not finite.

    !!! example

        ```python
        cost = lambda t, key: 1 + 4 * t  # most at the end
        fitted = ss.fitting.fit_warp(cost, num_knots=16, key=key)
        even = ss.Process(
            process.corruption,
            ss.schedules.TimeWarp(process.levels, fitted.warp),
            ss.schedules.TimeWarp(process.noise, fitted.warp),
        )
        ```

    ??? cite "Reference"

        Williams, Campbell, Doucet and Syed, *Score-Optimal Diffusion Schedules*,
        NeurIPS 2024, who invert the integral of another cost.
    """
    if progress is None:
        if num_knots < 2:
            raise ValueError(
                f"`fit_warp` got `num_knots={num_knots}`; one piece is a straight line "
                "and leaves nothing to fit. Expected at least 2."
            )
        progress = SoftmaxWarp(jnp.zeros(num_knots))
    if num_steps < 1:
        raise ValueError(
            f"`fit_warp` got `num_steps={num_steps}`; expected at least 1."
        )
    if optimiser is None:
        optimiser = optax.adam(optax.cosine_decay_schedule(0.1, num_steps))
    # Compiled anew in each call: a cost may be a function that reads the weights of a
    # denoiser in training, and a program from an earlier call would hold old weights.
    arrays, rest = eqx.partition(cost, eqx.is_array)
    train = jax.jit(
        lambda arrays, progress, key: _train(
            eqx.combine(arrays, rest), progress, optimiser, num_steps, key
        )
    )
    trained, history, shares = train(arrays, progress, key)
    if not np.isfinite(np.asarray(shares)).all() or np.min(shares) < 0:
        raise ValueError(
            "`fit_warp` needs a `cost` that is finite, not negative and not zero "
            f"throughout; as shares of their sum its values are {np.asarray(shares)}."
        )
    knots = trained.knots()
    evenness = np.asarray(shares) / np.diff(np.asarray(knots, np.float64))
    warp = PiecewiseLinear(knots, jnp.linspace(0, 1, knots.size, dtype=knots.dtype))
    return FittedWarp(warp, trained, np.asarray(history), evenness)


def _train(
    cost: Callable[..., Scalar],
    progress: SoftmaxWarp,
    optimiser: optax.GradientTransformation,
    num_steps: int,
    key: Key,
) -> tuple[SoftmaxWarp, Float[Array, " steps"], Float[Array, " knots"]]:
    """The trained progress, its divergences, and the mean shares of the cost."""
    pieces = jnp.arange(progress.logits.size, dtype=progress.logits.dtype)

    def shares(key: Key) -> Float[Array, " knots"]:
        # The same offset in all pieces, which leaves less noise for a smooth cost.
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
        # Optax raises a float to the power of an integer counter.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimiser.update(gradient, state, progress)
        progress = eqx.apply_updates(progress, updates)
        return (progress, state, mean + share / num_steps), value

    # Optax's type of parameters does not know modules, which it takes.
    state = optimiser.init(progress)  # pyright: ignore[reportArgumentType]
    start = (progress, state, jnp.zeros_like(pieces))
    keys = jax.random.split(key, num_steps)
    (progress, _, mean), history = jax.lax.scan(step, start, keys)
    return progress, history, mean
