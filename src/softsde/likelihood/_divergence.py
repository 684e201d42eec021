r"""The divergence $\nabla \cdot u = \operatorname{tr} u'$ of a field, exact or
estimated.

Both evaluate the field once and pull cotangents back through it. Tangents pushed
forward would find the same trace; on CPU a convolution is slower at them within a loop,
see `nn/_correlate.py`.
"""

import abc
from collections.abc import Callable
from typing import Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Key, Sample, Scalar

Field: TypeAlias = Callable[[Sample], Sample]


class AbstractDivergence(eqx.Module):
    """Computes or estimates the trace of a Jacobian."""

    @abc.abstractmethod
    def probes(
        self, x: Sample, key: Key | None
    ) -> Float[Array, "probes *shape"] | None:
        """Draws what is held fixed along the path of a sample."""

    @abc.abstractmethod
    def __call__(
        self, field: Field, x: Sample, probes: Float[Array, "probes *shape"] | None
    ) -> tuple[Sample, Scalar]:
        """The field at `x`, and its divergence there."""


class ExactDivergence(AbstractDivergence):
    r"""The trace itself: one cotangent for each component of the sample.

    So an evaluation of the field costs about as many of the network as a sample has
    components: for vectors and small images.

    !!! example

        ```python
        value, divergence = ss.likelihood.ExactDivergence()(lambda v: v**2, x, None)
        ```
    """

    #: How many cotangents at once; `None` for all. Fewer take less memory.
    batch_size: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        _check_count("ExactDivergence", "batch_size", self.batch_size or 1)

    def probes(self, x: Sample, key: Key | None) -> None:
        del x, key

    def __call__(
        self, field: Field, x: Sample, probes: Float[Array, "probes *shape"] | None
    ) -> tuple[Sample, Scalar]:
        del probes
        value, pull = jax.vjp(field, x)

        def entry(i):
            row = jnp.zeros(x.size, x.dtype).at[i].set(1).reshape(x.shape)
            return pull(row)[0].reshape(-1)[i]

        size = x.size if self.batch_size is None else self.batch_size
        entries = jax.lax.map(entry, jnp.arange(x.size), batch_size=min(size, x.size))
        return value, jnp.sum(entries)


class HutchinsonDivergence(AbstractDivergence):
    r"""Hutchinson's estimate $\frac1k \sum_i \varepsilon_i^\top u' \varepsilon_i$.

    Unbiased for any probes with $E[\varepsilon \varepsilon^\top] = I$, at the cost of
    one cotangent a probe. The probes are drawn once for a sample and held along the
    path, so what is integrated is a smooth function, and the integral is unbiased too.

    With Rademacher probes (signs) the variance is $\frac{1}{2k} \lVert J + J^\top
    \rVert^2$ over the entries of $J = u'$ off the diagonal; with Gaussian ones over all
    of them. Signs are never worse, and exact where the Jacobian is diagonal.

    !!! example

        ```python
        divergence = ss.likelihood.HutchinsonDivergence(num_probes=4)
        probes = divergence.probes(x, key)
        value, estimate = divergence(lambda v: v**2, x, probes)
        ```

    ??? cite "Reference"

        Hutchinson, *A Stochastic Estimator of the Trace of the Influence Matrix for
        Laplacian Smoothing Splines*, 1989. Grathwohl, Chen, Bettencourt, Sutskever and
        Duvenaud, *FFJORD*, ICLR 2019.
    """

    num_probes: int = eqx.field(static=True, default=1)
    distribution: Literal["rademacher", "gaussian"] = eqx.field(
        static=True, default="rademacher"
    )

    def __check_init__(self):
        _check_count("HutchinsonDivergence", "num_probes", self.num_probes)
        if self.distribution not in ("rademacher", "gaussian"):
            raise ValueError(
                f"`HutchinsonDivergence` got `distribution={self.distribution!r}`; "
                "expected 'rademacher' (signs) or 'gaussian'."
            )

    def probes(self, x: Sample, key: Key | None) -> Float[Array, "probes *shape"]:
        if key is None:
            raise ValueError(
                "Hutchinson's estimate draws its probes: give it a `key=`, one a "
                "sample, or ask for `divergence='exact'`."
            )
        shape = (self.num_probes, *x.shape)
        if self.distribution == "rademacher":
            return jax.random.rademacher(key, shape, x.dtype)
        return jax.random.normal(key, shape, x.dtype)

    def __call__(
        self, field: Field, x: Sample, probes: Float[Array, "probes *shape"] | None
    ) -> tuple[Sample, Scalar]:
        assert probes is not None
        value, pull = jax.vjp(field, x)
        quadratic = jax.vmap(lambda probe: jnp.sum(probe * pull(probe)[0]))(probes)
        return value, jnp.mean(quadratic)


Divergence: TypeAlias = Literal["auto", "exact", "hutchinson"] | AbstractDivergence

#: Up to so many components the trace itself costs little.
EXACT_UP_TO = 64


def make_divergence(divergence: Divergence, size: int) -> AbstractDivergence:
    """The divergence that a user names, for samples of `size` components.

    **Raises:** `ValueError` for an unknown name.
    """
    if isinstance(divergence, AbstractDivergence):
        return divergence
    if divergence == "auto":
        return ExactDivergence() if size <= EXACT_UP_TO else HutchinsonDivergence()
    if divergence == "exact":
        return ExactDivergence()
    if divergence == "hutchinson":
        return HutchinsonDivergence()
    raise ValueError(
        f"Unknown `divergence` {divergence!r}; expected 'auto', 'exact' (a cotangent "
        "for each component), 'hutchinson' (one at random), or an instance such as "
        "`HutchinsonDivergence(num_probes=8)`."
    )


def _check_count(owner: str, name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"`{owner}` got `{name}={value}`; expected at least 1.")
