"""The data set that is always there: 8x8 digits out of scikit-learn's own wheel."""

import numpy as np

from ._array import ArraySource

# 1,797 images in all. The file keeps the order in which they were written down, by 43
# people in turn, so a cut keeps most hands on one side of it.
_NUM_TRAIN = 1500


def digits(split: str = "train") -> ArraySource:
    """Handwritten digits at 8x8, embedded in scikit-learn: works without a network.

    The 17 grey levels 0..16 are scaled to [0, 1].

    **Arguments:**

    - `split`: `"train"` (the first 1,500), `"test"` (the last 297), or `"all"`.

    **Returns:** a source of `(8, 8, 1)` images and ten classes.

    **Raises:** ValueError for another split; ImportError without scikit-learn.

    !!! example
        ```python
        source = ss.data.digits("train")
        len(source), source.shape  # 1500, (8, 8, 1)
        ```
    """
    cuts = {
        "train": slice(None, _NUM_TRAIN),
        "test": slice(_NUM_TRAIN, None),
        "all": slice(None),
    }
    if split not in cuts:
        raise ValueError(f"`split` must be one of {list(cuts)}, got {split!r}.")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "The digits are part of scikit-learn: pip install 'softsde[experiments]'"
        ) from error
    pixels, labels = load_digits(return_X_y=True)
    images = (np.asarray(pixels).reshape(-1, 8, 8) / 16).astype(np.float32)
    return ArraySource(
        images[cuts[split]],
        np.asarray(labels)[cuts[split]],
        class_names=[str(digit) for digit in range(10)],
    )
