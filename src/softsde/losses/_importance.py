r"""Times drawn where the loss has been large.

The mean over time of a loss $\ell$ is estimated from times of any density $p$ by
$\ell(t) / p(t)$. The estimate is best for $p \propto \sqrt{E[\ell(t)^2]}$. That is not
known, so it is estimated: by a running mean over the bins of a histogram.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Key
from ..processes import Process
from ._batch import BatchLosses
from ._times import AbstractTimes, between, shares

# A bin is trusted when the mean in it stands for as many losses.
_SEEN = 10


class ImportanceTimes(AbstractTimes):
    r"""Draws times in proportion to the running root mean square of the loss there.

    The interval of times is cut into equal bins. A bin $b$ of $B$ is drawn with the
    probability $p_b = (1 - u) \sqrt{m_b} / \sum_c \sqrt{m_c} + u / B$, where $m_b$ is
    the running mean of squared losses in it and $u$ the share `uniform`; a time of it
    carries the weight $1 / (B p_b)$, at most $1 / u$. So weighted means are those of
    uniform times, whatever the bins have seen, with less variance. Until each bin has
    seen ten losses, times are uniform.

    It is a value: `update` returns the next one. The train step carries it along with
    the model, by its `carry`:

    !!! example

        ```python
        times = ss.losses.ImportanceTimes()
        loss_fn = ss.losses.on_batches(loss, times=times)
        step = ss.train.make_train_step(loss_fn, optimiser)
        state = ss.train.TrainState.create(denoiser, optimiser, key=key, carry=times)
        state, metrics = step(state, batch)
        state.carry.probabilities  # of the bins
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

        - `bins`: the number of bins.
        - `decay`: the factor by which each new loss of a bin reduces the weight of the
            older ones.
        - `uniform`: the share of times that are drawn uniformly, in (0, 1].
        - `low_discrepancy`: spread the times of a batch evenly over the probability,
            with one common shift, instead of drawing them independently.

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
        # The weight of a bin after ten losses, less a rounding.
        ready = jnp.all(self.weights > (1 - self.decay**_SEEN) * (1 - 1e-5))
        known = jnp.where(ready, self.weights, 1)
        roots = jnp.sqrt(jnp.where(ready, self.squares, 1) / known)
        total = jnp.sum(roots)
        portion = jnp.where(total > 0, roots / jnp.where(total > 0, total, 1), 1 / bins)
        return (1 - self.uniform) * portion + self.uniform / bins

    def draw(
        self, process: Process, number: int, *, key: Key
    ) -> tuple[Float[Array, " number"], Float[Array, " number"]]:
        place = shares(key, number, even=self.low_discrepancy)
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
        return between(process, share), 1 / density

    def update(self, process: Process, each: BatchLosses) -> "ImportanceTimes":
        """The distribution of times for the next batch.

        **Arguments:**

        - `process`: the process of `draw`.
        - `each`: the [`softsde.losses.BatchLosses`][] of the batch; only its times and
            losses are read, and no gradient flows back into them.

        **Returns:** the times to draw the next batch from.
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
