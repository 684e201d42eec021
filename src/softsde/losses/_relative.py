r"""A weight in time that makes losses comparable: relative to the best affine denoiser.

The error of a good denoiser varies over time by orders of magnitude: under a heavy blur
a few modes are uncertain, under a light one hundreds. Whatever power of $\sigma_t$ is
used, some stretch of time then dominates the loss. The error of the best *affine*
denoiser varies in the same way, and follows in closed form from the covariance of the
data. Divided by it, the loss is 1 for linear regression at every time, and lower the
more a network knows beyond it.
"""

import json
import pathlib
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import check_samples
from .._choose import evenly_spaced
from .._files import PathLike, write_json
from .._types import Scalar, ScalarLike
from ..processes import Process


class RelativeWeight(eqx.Module):
    r"""$w(t) = 1 / \ell(t)$, $\ell$ the Soft Score Matching loss of affine regression.

    The least loss of an affine denoiser is that of the Wiener filter: with $s_i$ the
    eigenvalues of the covariance of $C_t x_0$,

    $$\ell(t) = \min_{D \text{ affine}} \tfrac1d E\, \lVert C_t (D(x_t) - x_0) \rVert^2
    = \frac1d \sum_i \frac{s_i \sigma_t^2}{s_i + \sigma_t^2}.$$

    Under this weight the loss of the best affine denoiser is 1 at every time. A smaller
    loss is knowledge beyond linear regression. The weight is for the process that it
    was fitted to.

    !!! example

        ```python
        weight = ss.losses.RelativeWeight.fit(process, images)
        loss = ss.losses.SoftScoreMatching(weight)
        ```
    """

    times: Float[Array, " points"]
    #: The logarithm of $\ell$, between which `w` is interpolated.
    log_losses: Float[Array, " points"]

    def __init__(self, times, losses):
        """**Arguments:**

        - `times`: strictly increasing, at least two.
        - `losses`: the least loss of an affine denoiser at each; positive.

        **Raises:** `ValueError` for unequal lengths, unsorted times or losses that are
        not positive.
        """
        times, losses = np.asarray(times), np.asarray(losses)
        if times.ndim != 1 or times.shape != losses.shape or len(times) < 2:
            raise ValueError(
                "`RelativeWeight` needs at least two `times` and as many `losses`, got "
                f"shapes {times.shape} and {losses.shape}."
            )
        if not np.all(np.diff(times) > 0):
            raise ValueError("`RelativeWeight` needs strictly increasing `times`.")
        if not np.all(np.isfinite(losses) & (losses > 0)):
            raise ValueError(
                "`RelativeWeight` divides by `losses`, so they must be positive and "
                f"finite; the least is {losses.min()}. Where nothing is left to learn "
                "(no noise, or constant data) there is no relative loss."
            )
        self.times = jnp.asarray(times, jnp.result_type(float))
        self.log_losses = jnp.asarray(np.log(losses), jnp.result_type(float))

    def __call__(self, process: Process, t: ScalarLike) -> Scalar:
        # Every weight takes the process. This one was fitted to it.
        del process
        t = jnp.asarray(t)
        times, values = self.times.astype(t.dtype), self.log_losses.astype(t.dtype)
        return jnp.exp(-jnp.interp(t, times, values))

    @classmethod
    def fit(
        cls,
        process: Process,
        data: Float[Array | np.ndarray, "number *shape"],
        *,
        points: int = 33,
        max_samples: int = 4096,
    ) -> "RelativeWeight":
        r"""Computes $\ell$ from the covariance of corrupted data.

        **Arguments:**

        - `process`: that corrupts; $\sigma_t > 0$ at all times.
        - `data`: clean samples stacked in front; at most `max_samples`, evenly spaced
            over them, are used.
        - `points`: how many times, evenly spaced; between them $\log \ell$ is linear.

        **Returns:** the weight.

        **Raises:** `ValueError` for fewer than two samples or points, or a process
        without noise; `TypeError` for data that is not floating-point.
        """
        process.require_noise("`RelativeWeight.fit`")
        if points < 2:
            raise ValueError(
                f"`RelativeWeight.fit` needs at least two points, got {points}."
            )
        times = np.linspace(process.t0, process.t1, points)
        losses = affine_losses(process, data, times, max_samples=max_samples)
        return cls(times, losses)

    def save(self, path: PathLike) -> None:
        """Writes the weight as JSON, atomically. `RelativeWeight.load` reads it."""
        content = {
            "times": np.asarray(self.times).tolist(),
            "losses": np.exp(np.asarray(self.log_losses, np.float64)).tolist(),
        }
        write_json(path, content)

    @classmethod
    def load(cls, path: PathLike) -> "RelativeWeight":
        """Reads what `save` wrote.

        **Raises:** `ValueError` when the file holds no weight, naming the file.
        """
        try:
            content = json.loads(pathlib.Path(path).read_text())
            return cls(content["times"], content["losses"])
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} does not hold a weight: {error}") from error


def affine_losses(
    process: Process,
    data: Float[Array | np.ndarray, "number *shape"],
    times: Sequence[float] | Float[Array | np.ndarray, " times"],
    *,
    max_samples: int = 4096,
) -> Float[np.ndarray, " times"]:
    r"""The least Soft Score Matching loss of an affine denoiser, at each time.

    It is $\ell(t)$ of [`softsde.losses.RelativeWeight`][], without a weight. It is zero
    where there is no noise, and where $C_t$ leaves nothing of the data.

    **Arguments:**

    - `process`: that corrupts.
    - `data`: clean samples stacked in front; at most `max_samples`, evenly spaced over
        them, are used.
    - `times`: of the process.

    **Returns:** the losses.

    **Raises:** `ValueError` for fewer than two samples; `TypeError` for data that is
    not floating-point.

    !!! example

        ```python
        losses = ss.losses.affine_losses(process, images, [0.0, 0.5, 1.0])
        ```
    """
    check_samples("affine_losses", data)
    if len(data) < 2:
        raise ValueError(
            f"`affine_losses` needs at least two samples, got {len(data)}."
        )
    clean = evenly_spaced(data, max_samples)
    centred = jnp.asarray(clean - clean.mean(axis=0))
    corrupt = eqx.filter_jit(lambda t, xs: jax.vmap(lambda x: process.apply(t, x))(xs))
    losses = []
    for t in np.asarray(times):
        time = jnp.asarray(t, centred.dtype)
        rows = np.asarray(corrupt(time, centred), np.float64)
        noise = float(process.sigma(time)) ** 2
        losses.append(_wiener_loss(rows.reshape(len(rows), -1), noise))
    return np.array(losses)


def _wiener_loss(rows: Float[np.ndarray, "number size"], noise: float) -> float:
    """The mean over the components of `s noise / (s + noise)`; `rows` are centred."""
    number, size = rows.shape
    # The smaller of the two products has the same eigenvalues, zeros apart. Vectors,
    # which `_linalg.principal` gives too, would take several times as long.
    gram = rows.T @ rows if size <= number else rows @ rows.T
    variances = np.maximum(np.linalg.eigvalsh(gram / number), 0)
    if noise == 0:
        return 0.0
    return float(np.sum(variances * noise / (variances + noise)) / size)
