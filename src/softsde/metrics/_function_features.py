"""Any function of one image as a feature space."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
from jaxtyping import Array, Float

from .._opaque import Opaque, as_module
from ._features import AbstractFeatures
from ._hash import hash_tree

_ANY = (None, None, None)


@runtime_checkable
class FeatureExtractor(Protocol):
    """Any function of one image, such as `classifier.features` or `classifier`.

    It sees a single image `(height, width, channels)` with entries in `[0, 1]` and
    gives a vector. It must be pure JAX; an Equinox module or a bound method of one is
    best, since its weights are then arguments of the compiled program, and enter the
    hash by which results are told apart.
    """

    def __call__(
        self, x: Float[Array, "height width channels"], /
    ) -> Float[Array, " dim"]: ...


class FunctionFeatures(AbstractFeatures):
    """The features that a function of one image gives, with a name.

    ```python
    features = ss.metrics.FunctionFeatures(
        classifier.features, name="classifier of Fashion-MNIST", size=(28, 28, 1)
    )
    features.hash
    ```

    The hash is that of the present weights, if `function` is an Equinox module or a
    bound method of one. The weights of a plain function cannot be seen: its hash is
    empty, and results with it compare with nothing, unless `hash` is given. A plain
    function is also compiled anew for every extraction, because what it reads may have
    changed.
    """

    function: Callable
    name: str = eqx.field(static=True)
    resize: str = eqx.field(static=True)
    value_range: tuple[float, float] = eqx.field(static=True)
    size: tuple[int | None, int | None, int | None] = eqx.field(static=True)
    published: tuple[str, ...] = eqx.field(static=True)
    given_hash: str | None = eqx.field(static=True)

    def __init__(
        self,
        function: FeatureExtractor,
        *,
        name: str,
        resize: str = "none",
        value_range: tuple[float, float] = (0.0, 1.0),
        size: tuple[int | None, int | None, int | None] = _ANY,
        hash: str | None = None,
    ):
        """**Arguments:**

        - `function`: maps one image to a vector.
        - `name`: what the features are, such as `"classifier of Fashion-MNIST"`.
        - `resize`: what `function` does to the size of an image first, in words.
        - `value_range`: smallest and largest entry of an image; `(-inf, inf)` for any.
        - `size`: `(height, width, channels)` of an image; `None` for any.
        - `hash`: identifies a plain function, whose weights cannot be seen. By default
            the hash of the weights and the structure of `function`.

        **Raises:** `ValueError` for an empty name or an empty range.
        """
        if not name.strip():
            raise ValueError(
                "`name` is empty: say which features these are, for instance"
                " 'classifier of Fashion-MNIST'."
            )
        low, high = value_range
        if not low < high:
            raise ValueError(
                f"`value_range` is {value_range}; expected (smallest, largest)."
            )
        self.function = as_module(function)
        self.name, self.resize = name, resize
        self.value_range, self.size = (float(low), float(high)), size
        self.published = ()
        self.given_hash = hash

    @property
    def hash(self) -> str:
        """Hexadecimal SHA-256 of the function; empty if its weights cannot be seen."""
        if self.given_hash is not None:
            return self.given_hash
        if isinstance(self.function, Opaque):
            return ""
        return hash_tree(self.function)

    def __call__(
        self, images: Float[Array, "batch *image"]
    ) -> Float[Array, "batch features"]:
        features = jax.vmap(self.function)(images)
        if features.ndim != 2:
            raise ValueError(
                f"`{self.name}` gave an array of shape {features.shape[1:]} for an"
                " image, but a vector is expected. Pool or ravel it."
            )
        return features


def name_features(fn: AbstractFeatures | FeatureExtractor) -> AbstractFeatures:
    """`fn` itself if it is a feature space; otherwise the space of a function."""
    if isinstance(fn, AbstractFeatures):
        return fn
    return FunctionFeatures(fn, name=getattr(fn, "__qualname__", type(fn).__name__))
