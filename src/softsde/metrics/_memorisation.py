"""Finds the times at which a network copies its training set, by a permutation test."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ._arrays import AnyArray, check_finite, check_positive_int
from ._random import host_generator

# Entries of the tables of weights that are held at once.
_TABLE = 2**24
# In log-likelihood: a billion images at e^-60 of the largest weigh less than 1e-16.
_NEGLIGIBLE = 60


class MemorisationCurve(NamedTuple):
    """Distances of a denoiser to two empirical oracles, by time.

    - `times`: the times, one for each entry of the arrays below.
    - `to_training`: mean squared distance to the oracle of the training set, in units
        of the error of the best affine denoiser.
    - `to_held_out`: the same to the oracle of as many other images. A denoiser that
        copies has a smaller `to_training`; for one that knows nothing of the training
        set the two differ by chance alone.
    - `unit`: mean squared error of the best affine denoiser.
    - `p_values`: probability of so small a difference `to_training - to_held_out`, or a
        smaller one, if the denoiser knew nothing of which images it was trained on.
    - `adjusted`: the same for the most extreme of all times: times at which it is below
        a level contain no false alarm at all, but with the probability of that level.
    - `p_value`: one for the whole curve, by the mean difference over the times.
    """

    times: Float[np.ndarray, " times"]
    to_training: Float[np.ndarray, " times"]
    to_held_out: Float[np.ndarray, " times"]
    unit: Float[np.ndarray, " times"]
    p_values: Float[np.ndarray, " times"]
    adjusted: Float[np.ndarray, " times"]
    p_value: float

    @property
    def copied(self) -> Float[np.ndarray, " times"]:
        """Degree of copying: 0 is none, 1 an exact copy; `1 - training / held out`.

        It may be negative, by chance.
        """
        return 1 - self.to_training / self.to_held_out


def memorisation_curve(
    denoiser: Any,
    training: Float[AnyArray, "num *shape"],
    held_out: Float[AnyArray, "num *shape"],
    times: Sequence[float] | Float[AnyArray, " times"],
    *,
    reference: Float[AnyArray, "others *shape"] | None = None,
    num_points: int = 256,
    num_permutations: int = 199,
    batch_size: int = 256,
    key: PRNGKeyArray,
) -> MemorisationCurve:
    r"""Distance of a denoiser to copying, over time, with a p-value.

    The empirical oracle of images $a_1, \dots, a_n$ is the denoiser of a network that
    has memorised them: $E_A(x_t) = \sum_i w_i a_i$ with $w_i \propto \exp(-\lVert x_t -
    C_t a_i \rVert^2 / 2 \sigma_t^2)$. For the training set $A$ and as many other images
    $B$ of the same distribution, this computes

    $$d_A(t) = \operatorname*{mean}_{x_t} \lVert D(x_t) - E_A(x_t) \rVert^2 \Big/
    e_{\text{affine}}(t)$$

    and $d_B(t)$, over noisy images $x_t$ of as many points of $A$ as of $B$. The unit
    $e_{\text{affine}}$ is the mean squared error of the best affine denoiser.

    *The test.* If $D$ knows nothing of which images it was trained on, $a_i$ and $b_i$
    can be swapped for any $i$ without changing the law of $d_A - d_B$. The points $x_t$
    are the same under all swaps. So the rank of the observed difference among those of
    random swaps gives a p-value that is exact for every $n$; it needs only that both
    sets were drawn alike.

    A small p-value says *that* a denoiser copies, however little; `copied` says how
    much. At small noise both oracles give back the nearest image and a good denoiser
    the noisy image itself; at large noise all three agree. Copying shows in between.

    **Arguments:**

    - `denoiser`: called as `denoiser(t, x)` for one noisy image, with its `process`.
    - `training`: images that it was trained on, `(num, ...)`.
    - `held_out`: as many others of the same distribution, and in no order that sets
        them apart.
    - `times`: times after the first of the process, where there is noise.
    - `reference`: images that the best affine denoiser is fitted to; `None` takes both
        sets. For few images of many pixels pass more, or the unit is too small.
    - `num_points`: number of noisy images at each time, half of either set.
    - `num_permutations`: number of random swaps; the smallest p-value is
        `1 / (1 + num_permutations)`.
    - `batch_size`: noisy images that the denoiser sees at once.
    - `key`: for the noise and the swaps.

    **Returns:**

    A [`softsde.metrics.MemorisationCurve`][].

    **Raises:** `ValueError` for sets of different sizes or shapes, entries that are not
    finite, or a time without noise.

    ```python
    curve = ss.metrics.memorisation_curve(
        denoiser, images[:4], images[4:8], [0.3, 0.6], num_permutations=19, key=key
    )
    print(curve.copied, curve.p_values)
    ```
    """
    training, held_out = np.asarray(training), np.asarray(held_out)
    check_positive_int("num_permutations", num_permutations)
    check_positive_int("batch_size", batch_size)
    _check_sets(training, held_out, num_points)
    others = np.concatenate([training, held_out])
    others = others if reference is None else np.asarray(reference)
    if others.shape[1:] != training.shape[1:] or len(others) < 2:
        raise ValueError(
            f"`reference` has shape {others.shape}, but at least two images of shape"
            f" {training.shape[1:]} are expected."
        )
    check_finite("reference", others)
    times = np.asarray(times, np.float64).reshape(-1)
    noise_key, swap_key = jax.random.split(key)
    generator = host_generator(swap_key)
    num = len(training)
    pairs = generator.permutation(num)[: min(num, num_points // 2)]
    # Row 0 is the observed assignment: no pair is swapped.
    swaps = generator.integers(2, size=(1 + num_permutations, num), dtype=bool)
    swaps[0] = False

    differences, training_side, held_out_side, units = [], [], [], []
    for number, t in enumerate(times):
        at = _At(denoiser, t, jax.random.fold_in(noise_key, number), batch_size)
        images = np.concatenate([training, held_out])
        noisy, denoised = at.points(images[np.concatenate([pairs, num + pairs])])
        unit = _affine_error(at.centres(others), _rows(others), at.sigma)
        distances = _distances(
            noisy, denoised, at.centres(images), _rows(images), at.sigma, swaps
        )
        distances /= unit
        differences.append(distances[0] - distances[1])
        training_side.append(distances[0, 0])
        held_out_side.append(distances[1, 0])
        units.append(unit)
    table = np.array(differences)
    return MemorisationCurve(
        times,
        np.array(training_side),
        np.array(held_out_side),
        np.array(units),
        _p_values(table),
        _adjusted(table),
        float(_p_values(table.mean(0, keepdims=True))[0]),
    )


def _check_sets(training: np.ndarray, held_out: np.ndarray, num_points: int) -> None:
    if training.ndim < 2 or training.shape != held_out.shape or len(training) < 2:
        raise ValueError(
            f"`training` has shape {training.shape} and `held_out` {held_out.shape};"
            " expected equal shapes `(num, ...)` with at least 2 images, since the test"
            " swaps images of one set for those of the other. Pass the first images of"
            " the larger set, after shuffling it."
        )
    check_finite("training", training)
    check_finite("held_out", held_out)
    check_positive_int("num_points", num_points)
    if num_points < 2:
        raise ValueError("`num_points` is 1, but at least 2 are expected.")


class _At:
    """The denoiser and its process at one time, on batches of images."""

    def __init__(self, denoiser: Any, t: float, key: PRNGKeyArray, batch_size: int):
        self.denoiser, self.key, self.batch_size = denoiser, key, batch_size
        self.t = float(t)
        self.sigma = float(denoiser.process.sigma(self.t))
        if not self.sigma > 0:
            raise ValueError(
                f"The process has noise {self.sigma} at t={self.t}: there the oracles"
                " have no value. Pass later times."
            )

    def points(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A noisy image of each of `images`, and what the denoiser makes of it."""
        keys = jax.random.split(self.key, len(images))
        found = [
            _perturb_and_denoise(
                self.denoiser, *self._on_device(images[rows]), keys[rows]
            )
            for rows in self._batches(images)
        ]
        noisy, denoised = zip(*found, strict=True)
        result = _rows(np.concatenate(noisy)), _rows(np.concatenate(denoised))
        check_finite("denoiser(t, x)", result[1])
        return result

    def centres(self, images: np.ndarray) -> np.ndarray:
        """`C_t x0` for each of `images`, flattened."""
        found = [
            np.asarray(_corrupt(self.denoiser.process, *self._on_device(images[rows])))
            for rows in self._batches(images)
        ]
        return _rows(np.concatenate(found))

    def _on_device(self, images: np.ndarray) -> tuple[Array, Array]:
        """The time and some images. An array of a time: no program for each of them."""
        floating = jnp.issubdtype(images.dtype, jnp.floating)
        batch = jnp.asarray(images, images.dtype if floating else float)
        return jnp.asarray(self.t, batch.dtype), batch

    def _batches(self, images: np.ndarray) -> list[slice]:
        size = self.batch_size
        return [slice(i, i + size) for i in range(0, len(images), size)]


@eqx.filter_jit
def _perturb_and_denoise(denoiser, t, images, keys):
    def one(x0, key):
        x = denoiser.process.perturb(t, x0, key=key)[0]
        return x, denoiser(t, x)

    return jax.vmap(one)(images, keys)


@eqx.filter_jit
def _corrupt(process, t, images):
    return jax.vmap(lambda x0: process.apply(t, x0))(images)


def _rows(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, np.float64).reshape(len(x), -1)


def _affine_error(centres: np.ndarray, images: np.ndarray, sigma: float) -> float:
    r"""Mean squared error of the best affine denoiser of the given images.

    `tr S_00 - tr S_0t (S_tt + sigma^2)^{-1} S_t0`, with the covariances `S` of images
    and centres, in the basis where `S_tt` is diagonal.
    """
    images, centres = images - images.mean(0), centres - centres.mean(0)
    num = len(images)
    variances, basis = np.linalg.eigh(centres.T @ centres / num)
    variances = np.maximum(variances, 0)
    cross = images.T @ (centres @ basis) / num
    explained = np.sum(cross**2, axis=0) / (variances + sigma**2)
    return float(np.sum(images**2) / num - np.sum(explained))


def _distances(
    noisy: np.ndarray,
    denoised: np.ndarray,
    centres: np.ndarray,
    images: np.ndarray,
    sigma: float,
    swaps: np.ndarray,
) -> Float[np.ndarray, "2 swaps"]:
    """Mean squared distance to the oracles of both sides, for each row of `swaps`."""
    num = len(images) // 2
    lengths = np.sum(centres**2, axis=1)
    total = np.zeros((2, len(swaps)))
    for x, d in zip(noisy, denoised, strict=True):
        # |x - c|^2 without |x|^2, which is the same for all images.
        logits = (centres @ x - lengths / 2) / sigma**2
        first, second = logits[:num], logits[num:]
        # Whatever is swapped, one image on either side is at least so likely, ...
        least = np.minimum(first, second).max()
        # ... so all others together weigh less than rounding does.
        near = np.flatnonzero(np.maximum(first, second) > least - _NEGLIGIBLE)
        block = max(1, _TABLE // len(near))
        for start in range(0, len(swaps), block):
            swap = swaps[start : start + block, near]
            for side, other in enumerate((swap, ~swap)):
                weights = np.where(other, second[near], first[near])
                weights -= weights.max(axis=1, keepdims=True)
                np.exp(weights, out=weights)
                weights /= weights.sum(axis=1, keepdims=True)
                oracle = (weights * ~other) @ images[near]
                oracle += (weights * other) @ images[num + near]
                error = np.sum((d - oracle) ** 2, axis=1)
                total[side, start : start + block] += error
    return total / len(noisy)


def _p_values(differences: Float[np.ndarray, "times swaps"]) -> np.ndarray:
    """Share of the swaps, the observed one among them, with as small a difference."""
    return np.mean(differences <= differences[:, :1], axis=1)


def _adjusted(differences: Float[np.ndarray, "times swaps"]) -> np.ndarray:
    """Share of the swaps whose most extreme time is as extreme (Westfall and Young)."""
    spread = differences.std(axis=1, keepdims=True)
    scores = differences / np.where(spread > 0, spread, 1)
    most_extreme = scores.min(axis=0)
    return np.mean(most_extreme[None] <= scores[:, :1], axis=1)
