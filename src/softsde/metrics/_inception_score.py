"""The Inception score: confident predictions of many different classes."""

import itertools

import numpy as np
from jaxtyping import Float

from ._arrays import AnyArray, as_features
from ._estimate import Estimate


def inception_score(
    logits: Float[AnyArray, "num classes"], *, num_splits: int = 10
) -> Estimate:
    r"""The score of Salimans et al. (2016), with the spread over disjoint splits.

    $$\exp\, \mathbb E_x \mathrm{KL}\big(p(y | x)\, \|\, p(y)\big), \qquad
    p(y) = \mathbb E_x p(y | x)$$

    It lies between 1 and the number of classes. It is computed for `num_splits`
    consecutive parts and averaged, as in the literature. Images of real data should be
    scored too, because it rewards what the classifier is sure of, not what is right.
    With the logits of the Inception network, and with no others, it is called the
    Inception score.

    **Arguments:**

    - `logits`: of a classifier, one row a sample, in no particular order; an array or a
        memory map.
    - `num_splits`: number of parts; the literature takes 10 of 5,000 each.

    **Returns:**

    The [`softsde.metrics.Estimate`][] of the mean over the parts. Its standard error is
    that of the mean; the literature quotes the standard deviation of the parts, which
    is `num_splits ** 0.5` times as large.

    **Raises:** `ValueError` for logits that are not finite, or fewer than 2 for a part.

    ```python
    logits = ss.metrics.extract_features(classifier, samples)
    ss.metrics.inception_score(logits, num_splits=2)
    ```
    """
    logits = as_features("logits", logits)
    if not 2 <= num_splits <= len(logits) // 2:
        raise ValueError(
            f"`num_splits` is {num_splits} for {len(logits)} rows; expected at least 2,"
            " and 2 rows for each. Draw more samples, or take fewer splits."
        )
    bounds = np.linspace(0, len(logits), num_splits + 1).astype(int)
    scores = [_score(logits[i:j]) for i, j in itertools.pairwise(bounds)]
    error = np.std(scores, ddof=1) / np.sqrt(num_splits)
    return Estimate(float(np.mean(scores)), float(error), num_splits - 1)


def _score(logits: np.ndarray) -> float:
    # KL = sum p log p - sum p log mean(p), and the mean of p follows at the end.
    mean, negative_entropy = np.zeros(logits.shape[1]), 0.0
    for start in range(0, len(logits), 4096):
        block = logits[start : start + 4096].astype(np.float64)
        block = block - block.max(axis=1, keepdims=True)
        log_p = block - np.log(np.exp(block).sum(axis=1, keepdims=True))
        p = np.exp(log_p)
        mean += p.sum(axis=0)
        negative_entropy += float(np.sum(p * log_p))
    mean /= len(logits)
    seen = mean[mean > 0]
    return float(np.exp(negative_entropy / len(logits) - np.sum(seen * np.log(seen))))
