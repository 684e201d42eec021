r"""Times drawn where the loss is large, by what it has been.

The mean over time of a loss $\ell$ is estimated from times of any density $p$ by
$\ell(t) / p(t)$. The estimate is best for $p \propto \sqrt{E[\ell(t)^2]}$, which is not
known but can be watched: a running mean over the bins of a histogram.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Key
from ..processes import Process

# A bin is trusted when the mean in it stands for as many losses.
_SEEN = 10


class ImportanceTimes(eqx.Module):
    r"""Draws times in proportion to the running root mean square of the loss there.

    The interval of times is cut into equal bins. A bin $b$ of $B$ is drawn with the
    probability $p_b = (1 - u) \sqrt{m_b} / \sum_c \sqrt{m_c} + u / B$, where $m_b$ is
    the running mean of squared losses in it and $u$ the share `uniform`; a time of it
    carries the weight $1 / (B p_b)$, at most $1 / u$. So weighted means are those of
    uniform times, whatever the bins have seen, with less variance. Until each bin has
    seen ten losses, times are uniform.

    It is a value: `update` returns the next one. Carry it along with the model, as
    [`softsde.train.make_train_step`][] does by its `carry`:

    !!! example

        ```python
        def loss_fn(model, batch, times, *, key):
            denoiser = ss.Denoiser(model, process, parametrisation)
            each = ss.losses.batch_losses(
                loss, denoiser, process, batch["image"], key=key, times=times
            )
            return each.mean, ({}, times.update(process, each))


        times = ss.losses.ImportanceTimes()
        state = ss.train.TrainState.create(network, optimiser, key=key, carry=times)
        step = ss.train.make_train_step(loss_fn, optimiser)
        state, metrics = step(state, batch)
        ```

    ??? cite "Reference"

        Nichol and Dhariwal, *Improved Denoising Diffusion Probabilistic Models*, ICML
        2021, Section 3.3, for discrete times.
    """

    #: Decayed sums of squared losses in each bin, and of their weights.
    squares: Float[Array, " bins"]
    weights: Float[Array, " bins"]
    decay: float = eqx.field(static=True)
    uniform: float = eqx.field(static=True)
    low_discrepancy: bool = eqx.field(static=True)

    def __init__(
        self,
        bins: int = 64,
        *,
        decay: float = 0.99,
        uniform: float = 0.1,
        low_discrepancy: bool = True,
    ):
        """**Arguments:**

        - `bins`: how many.
        - `decay`: what each new loss of a bin leaves of the weight of the older ones.
        - `uniform`: the share of times that are drawn uniformly, in (0, 1].
        - `low_discrepancy`: spread the times of a batch evenly over the probability,
            with one common shift, rather than draw them independently.

        **Raises:** `ValueError` for no bins, or a number outside its range.
        """
        if bins < 1:
            raise ValueError(
                f"`ImportanceTimes` needs at least one bin, got `bins={bins}`."
            )
        if not 0 < decay < 1:
            raise ValueError(
                f"`ImportanceTimes` got `decay={decay}`; expected a share in (0, 1)."
            )
        if not 0 < uniform <= 1:
            raise ValueError(
                f"`ImportanceTimes` got `uniform={uniform}`; expected a share in "
                "(0, 1]. At 0 a bin without loss would never be looked at again."
            )
        self.squares = jnp.zeros(bins)
        self.weights = jnp.zeros(bins)
        self.decay = decay
        self.uniform = uniform
        self.low_discrepancy = low_discrepancy

    @property
    def probabilities(self) -> Float[Array, " bins"]:
        """The probability of each bin."""
        bins = self.squares.size
        # What ten losses leave, less a rounding.
        ready = jnp.all(self.weights > (1 - self.decay**_SEEN) * (1 - 1e-5))
        known = jnp.where(ready, self.weights, 1)
        roots = jnp.sqrt(jnp.where(ready, self.squares, 1) / known)
        total = jnp.sum(roots)
        shares = jnp.where(total > 0, roots / jnp.where(total > 0, total, 1), 1 / bins)
        return (1 - self.uniform) * shares + self.uniform / bins

    def draw(
        self, process: Process, number: int, *, key: Key
    ) -> tuple[Float[Array, " number"], Float[Array, " number"]]:
        """Draws times in `[t0, t1)`.

        **Arguments:**

        - `process`: whose times they are.
        - `number`: how many.
        - `key`: of the draw.

        **Returns:** the times, and the weight of each in a mean over uniform times.
        """
        if self.low_discrepancy:
            shift = jax.random.uniform(key)
            place = (shift + jnp.arange(number) / number) % 1.0
        else:
            place = jax.random.uniform(key, (number,))
        # The inverse of the distribution function, which is linear in each bin.
        probabilities = jax.lax.stop_gradient(self.probabilities)
        bins = probabilities.size
        above = jnp.cumsum(probabilities)
        place = place.astype(above.dtype) * above[-1]
        index = jnp.minimum(jnp.searchsorted(above, place, side="right"), bins - 1)
        density = probabilities[index] * bins
        below = above[index] - probabilities[index]
        inside = jnp.clip((place - below) / probabilities[index], 0, 1)
        share = (index.astype(above.dtype) + inside) / bins
        share = jnp.minimum(share, 1 - jnp.finfo(above.dtype).eps)
        return process.t0 + (process.t1 - process.t0) * share, 1 / density

    def update(self, process: Process, each) -> "ImportanceTimes":
        """What is known after a batch.

        **Arguments:**

        - `process`: as given to `draw`.
        - `each`: the [`softsde.losses.BatchLosses`][] of the batch; only its times and
            losses are read, and no gradient flows back into them.

        **Returns:** the sampler for the next batch.
        """
        times, losses = jax.lax.stop_gradient((each.times, each.losses))
        bins, dtype = self.squares.size, self.squares.dtype
        share = (times.astype(dtype) - process.t0) / (process.t1 - process.t0)
        index = jnp.clip(jnp.floor(share * bins), 0, bins - 1).astype(int)
        count = jnp.zeros(bins, dtype).at[index].add(1)
        total = jnp.zeros(bins, dtype).at[index].add(losses.astype(dtype) ** 2)
        mean = total / jnp.maximum(count, 1)
        kept = self.decay**count
        squares = kept * self.squares + (1 - kept) * mean
        weights = kept * self.weights + (1 - kept)
        where = lambda sampler: (sampler.squares, sampler.weights)
        return eqx.tree_at(where, self, (squares, weights))
