"""Two-sample test by a classifier: can anybody tell samples from data?"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray, Shaped

from ._arrays import AnyArray, as_features, check_comparable
from ._random import host_generator


class ClassifierTest(NamedTuple):
    """Result of a test: can a classifier tell two sets apart better than by chance?

    - `accuracy`: on pairs that it was not trained on; 1/2 if the sets are alike.
    - `standard_error`: of the accuracy.
    - `p_value`: probability of such an accuracy, or a larger one, if both sets have the
        same distribution.
    - `num_test`: number of rows that the accuracy is of.
    """

    accuracy: float
    standard_error: float
    p_value: float
    num_test: int


def classifier_test(
    features_a: Shaped[AnyArray, "num_a dim_a"],
    features_b: Shaped[AnyArray, "num_b dim_b"],
    *,
    squares: bool = True,
    ridge: float = 1e-2,
    key: PRNGKeyArray,
) -> ClassifierTest:
    r"""The classifier two-sample test of Lopez-Paz and Oquab (2017).

    Equally many rows of both sets are halved at random. A logistic regression learns on
    one half to tell the sets apart, and is tested on the other. Of $n$ test rows of
    equal distributions, a binomial number with probability 1/2 is right, so the p-value
    is exact.

    A logistic regression on features sees a difference of their means, and with
    `squares` one of their variances too. A test that finds nothing says that *this*
    classifier finds nothing.

    **Arguments:**

    - `features_a`, `features_b`: one row a sample. Of the larger set a random part is
        used.
    - `squares`: whether the squares of the standardised features are features too.
    - `ridge`: weight of the squared coefficients, on standardised features.
    - `key`: chooses the halves.

    **Returns:**

    A `ClassifierTest`.

    **Raises:** `ValueError` for entries that are not finite, rows of different lengths,
    or fewer than 4 rows.

    ```python
    ss.metrics.classifier_test(features, reference, key=key).p_value
    ```
    """
    from scipy.stats import binom

    features_a = as_features("features_a", features_a, at_least=4)
    features_b = as_features("features_b", features_b, at_least=4)
    check_comparable("features_a", features_a, "features_b", features_b)
    if not ridge > 0:
        raise ValueError(f"`ridge` is {ridge}, but a positive number is expected.")
    rng = host_generator(key)
    num = min(len(features_a), len(features_b))
    half = num // 2
    a, b = (
        x[np.sort(rng.permutation(len(x))[:num])].astype(np.float64)
        for x in (features_a, features_b)
    )
    a, b = rng.permutation(a), rng.permutation(b)
    train = np.concatenate([a[:half], b[:half]])
    test = np.concatenate([a[half:], b[half:]])
    centre, scale = train.mean(axis=0), train.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    seen = _expand((train - centre) / scale, squares)
    weights = _fit(seen, np.repeat([0, 1], half), ridge)
    scores = _expand((test - centre) / scale, squares) @ weights
    is_b = np.repeat([False, True], num - half)
    # Where the score decides nothing, a fair coin does.
    says_b = np.where(scores == 0, rng.random(len(scores)) < 0.5, scores > 0)
    right = int(np.count_nonzero(says_b == is_b))
    accuracy = right / len(test)
    return ClassifierTest(
        accuracy=accuracy,
        standard_error=float(np.sqrt(accuracy * (1 - accuracy) / len(test))),
        p_value=float(binom.sf(right - 1, len(test), 0.5)),
        num_test=len(test),
    )


def _expand(x: Float[np.ndarray, "num dim"], squares: bool) -> np.ndarray:
    """A constant, the features, and their squares around 1."""
    columns = [np.ones((len(x), 1)), x]
    # Features far from those of the training half must not decide alone.
    columns += [np.clip(x**2 - 1, -1, 8)] if squares else []
    return np.concatenate(columns, axis=1)


def _fit(
    x: Float[np.ndarray, "num columns"], labels: Int[np.ndarray, " num"], ridge: float
) -> Float[np.ndarray, " columns"]:
    """Logistic regression by Newton's method; the constant is not penalised."""
    penalty = np.full(x.shape[1], ridge * len(x))
    penalty[0] = 1e-9 * len(x)
    weights = np.zeros(x.shape[1])

    def loss(weights):
        score = x @ weights
        return np.sum(np.logaddexp(0, score) - labels * score) + (
            penalty @ weights**2 / 2
        )

    now = loss(weights)
    for _ in range(50):
        probability = 1 / (1 + np.exp(-np.clip(x @ weights, -500, 500)))
        gradient = x.T @ (probability - labels) + penalty * weights
        curvature = probability * (1 - probability)
        hessian = (x * curvature[:, None]).T @ x + np.diag(penalty)
        step = np.linalg.solve(hessian, gradient)
        length = 1.0
        while loss(weights - length * step) > now and length > 1e-8:
            length /= 2
        weights = weights - length * step
        before, now = now, loss(weights)
        if before - now < 1e-9 * before:
            break
    return weights
