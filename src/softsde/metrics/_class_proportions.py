"""Class proportions: has the model dropped a mode that a classifier can name?"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Shaped

from ._arrays import AnyArray, check_finite, check_positive_int


class ClassProportions(NamedTuple):
    """Proportions of the classes, and their distance from a reference.

    - `counts`, `proportions`: one entry a class.
    - `low`, `high`: ends of the 95 % interval of each proportion (Wilson, 1927).
    - `entropy`: of the proportions, in nats; `exp(entropy)` is the effective number of
        classes.
    - `total_variation`: half the sum of absolute differences from the reference, in
        `[0, 1]`: the fraction of samples that would have to change class.
    - `expected_total_variation`: what as many *fair* draws from the reference would
        show on average; a total variation near it says "no difference seen".
    - `p_value`: of Pearson's chi-squared test: the probability of such a difference, or
        a larger one, if the draws are fair. Good if each class expects 5 or more.
    """

    counts: Int[np.ndarray, " classes"]
    proportions: Float[np.ndarray, " classes"]
    low: Float[np.ndarray, " classes"]
    high: Float[np.ndarray, " classes"]
    entropy: float
    total_variation: float
    expected_total_variation: float
    p_value: float


def class_proportions(
    labels: Shaped[AnyArray, "num ..."],
    *,
    num_classes: int | None = None,
    reference: Float[AnyArray, " classes"] | None = None,
) -> ClassProportions:
    r"""Proportions of the classes, their entropy, and their total variation distance.

    $$H = -\sum_c p_c \log p_c, \qquad \mathrm{TV} = \tfrac12 \sum_c |p_c - r_c|,
    \qquad \mathbb E\, \mathrm{TV} \approx \tfrac12 \sum_c
    \sqrt{2 r_c (1 - r_c) / (\pi n)}.$$

    The interval of a proportion $p$ is, with $z = 1.96$,
    $$\frac{1}{1 + z^2/n} \Big( p + \frac{z^2}{2n} \pm z \sqrt{\frac{p (1 - p)}{n} +
    \frac{z^2}{4 n^2}} \Big).$$

    **Arguments:**

    - `labels`: integer labels `(num,)`, or a classifier's logits `(num, classes)`, of
        which the largest decides.
    - `num_classes`: needed with labels, as a class that never occurs is the finding.
    - `reference`: proportions `(classes,)` to compare with; uniform by default.

    **Returns:**

    A `ClassProportions`.

    **Raises:** `TypeError` if `labels` are neither of the two; `ValueError` for labels
    out of range, no samples, or a reference that is no distribution.

    ```python
    logits = ss.metrics.extract_features(classifier, samples)
    ss.metrics.class_proportions(logits).total_variation
    ```
    """
    labels = np.asarray(labels)
    if labels.ndim == 2 and jnp.issubdtype(labels.dtype, jnp.floating):
        check_finite("labels", labels)
        if num_classes not in (None, labels.shape[1]):
            raise ValueError(
                f"`num_classes` is {num_classes}, but the logits have"
                f" {labels.shape[1]} columns. Leave `num_classes` out."
            )
        num_classes = labels.shape[1]
        labels = labels.argmax(axis=1)
    elif labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(
            f"`labels` has dtype {labels.dtype} and shape {labels.shape}; expected"
            " integer labels `(num,)` or floating-point logits `(num, classes)`."
        )
    if num_classes is None:
        raise ValueError(
            "`num_classes` is needed with labels: a class that never occurs would go"
            " unnoticed otherwise."
        )
    check_positive_int("num_classes", num_classes)
    num = len(labels)
    if num == 0:
        raise ValueError("`labels` is empty: there are no proportions of nothing.")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"`labels` range from {labels.min()} to {labels.max()}, but `num_classes`"
            f" is {num_classes}, so they must lie in 0 ... {num_classes - 1}."
        )
    counts = np.bincount(labels, minlength=num_classes)
    proportions = counts / num
    seen = proportions[proportions > 0]
    r = _reference(reference, num_classes)
    low, high = _wilson(proportions, num)
    return ClassProportions(
        counts=counts,
        proportions=proportions,
        low=low,
        high=high,
        entropy=float(-np.sum(seen * np.log(seen))),
        total_variation=float(np.abs(proportions - r).sum() / 2),
        expected_total_variation=float(
            np.sqrt(2 * r * (1 - r) / (np.pi * num)).sum() / 2
        ),
        p_value=_p_value(counts, r),
    )


def _wilson(
    p: Float[np.ndarray, " classes"], num: int
) -> tuple[Float[np.ndarray, " classes"], Float[np.ndarray, " classes"]]:
    z = 1.959963984540054  # the 0.975 quantile of a normal variable
    centre = p + z**2 / (2 * num)
    half = z * np.sqrt(p * (1 - p) / num + z**2 / (4 * num**2))
    scale = 1 + z**2 / num
    return np.clip((centre - half) / scale, 0, 1), np.clip(
        (centre + half) / scale, 0, 1
    )


def _p_value(
    counts: Int[np.ndarray, " classes"], reference: Float[np.ndarray, " classes"]
) -> float:
    from scipy.special import chdtrc

    # A class that the reference does not have: one draw of it is proof enough.
    possible = reference > 0
    if counts[~possible].any():
        return 0.0
    expected = counts.sum() * reference[possible]
    squared = np.sum((counts[possible] - expected) ** 2 / expected)
    degrees = np.count_nonzero(possible) - 1
    return float(chdtrc(degrees, squared)) if degrees else 1.0


def _reference(
    reference: Float[AnyArray, " classes"] | None, num_classes: int
) -> Float[np.ndarray, " classes"]:
    if reference is None:
        return np.full(num_classes, 1 / num_classes)
    r = np.asarray(reference, np.float64)
    if r.shape != (num_classes,) or not (np.all(r >= 0) and abs(r.sum() - 1) < 1e-5):
        raise ValueError(
            f"`reference` has shape {r.shape} and sum {r.sum():.6g};"
            f" expected {num_classes} non-negative proportions that sum to 1."
            " From counts, pass `counts / counts.sum()`."
        )
    return r
