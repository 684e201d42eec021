"""The multi-layer perceptron: the network for vectors and other small samples."""

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._types import Condition, Sample, ScalarLike
from ._arguments import AbstractNetwork, Arguments, keep
from ._at_size import at_least_float32
from ._condition import ConditionEmbedding, embed, make_embedding
from ._film import FiLM
from ._initial_weights import split
from ._linear import Linear
from ._time_embedding import TimeEmbedding
from ._vector_features import VectorFourierFeatures


class MLPBlock(eqx.Module):
    """Two linear maps around which the signal can pass unchanged.

    `h = silu(first(x) * (1 + a) + b)`, `y = (x + second(h)) / sqrt(2)`, where `a` and
    `b` are linear in the embedding of time and condition.
    """

    first: Linear
    film: FiLM
    second: Linear

    def __init__(self, width: int, embedding_size: int, *, key: PRNGKeyArray):
        """**Arguments:**

        - `width`: length of the signal.
        - `embedding_size`: length of the embedding of time and condition.
        - `key`: for the initial weights.
        """
        keys = split(key)
        self.first = Linear(width, width, key=next(keys))
        self.film = FiLM(embedding_size, width, key=next(keys))
        self.second = Linear(width, width, key=next(keys))

    def __call__(
        self, embedding: Float[Array, " embedding_size"], x: Float[Array, " width"]
    ) -> Float[Array, " width"]:
        scale, shift = self.film(embedding)
        h = jax.nn.silu(self.first(x) * scale + shift)
        return (x + self.second(h)) / 2**0.5


class MLP(AbstractNetwork):
    """A time-conditioned network from vectors to vectors.

    ```python
    network = ss.nn.MLP(2, key=jax.random.key(0))
    prediction = network(0.5, jnp.array([1.0, -1.0]))
    ```

    A linear map to the width, residual blocks that read the sines and cosines of the
    time ([`softsde.nn.TimeEmbedding`][]), and a linear map back that starts at zero: a
    new network predicts zero. A sample of another shape than a vector is flattened, so
    the network knows nothing of its pixels' places: for images there is
    [`softsde.nn.UNet`][]. With `fourier_features` the first map also reads sines and
    cosines of the sample ([`softsde.nn.VectorFourierFeatures`][]), for fine structure
    in few dimensions.
    """

    embedding: TimeEmbedding
    first: Linear
    blocks: list[MLPBlock]
    last: Linear
    condition: ConditionEmbedding | None
    features: VectorFourierFeatures | None
    shape: tuple[int, ...] = eqx.field(static=True)
    _arguments: Arguments = eqx.field(static=True)

    def __init__(
        self,
        shape: int | Sequence[int],
        *,
        width: int = 128,
        depth: int = 3,
        fourier_features: int = 0,
        fourier_scale: float = 1.0,
        num_classes: int | None = None,
        condition_size: int | None = None,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `shape`: of one sample; one number is the length of a vector.
        - `width`: length of the signal inside.
        - `depth`: number of residual blocks.
        - `fourier_features`: frequencies of the Fourier features of the sample; 0 for
            none.
        - `fourier_scale`: their standard deviation, in turns per unit of the sample.
        - `num_classes`: the condition is an integer label from 0 to `num_classes - 1`;
            -1 stands for no label. `None` is a network without labels.
        - `condition_size`: the condition is a vector of so many floating-point numbers;
            zeros stand for no condition. Not together with `num_classes`.
        - `key`: for the initial weights.

        **Raises:** `ValueError` for a width or a depth that is not positive, or if
        `num_classes` and `condition_size` are both given.
        """
        if width < 1 or depth < 1 or fourier_features < 0:
            raise ValueError(
                f"`MLP` got `width={width}`, `depth={depth}` and `fourier_features="
                f"{fourier_features}`; expected positive numbers, such as `width=128, "
                "depth=3`, and 0 or more features."
            )
        self._arguments = keep(
            shape=shape,
            width=width,
            depth=depth,
            fourier_features=fourier_features,
            fourier_scale=fourier_scale,
            num_classes=num_classes,
            condition_size=condition_size,
        )
        sides = shape if isinstance(shape, Sequence) else (shape,)
        self.shape = tuple(int(side) for side in sides)
        size = math.prod(self.shape)
        keys = split(key)
        self.embedding = TimeEmbedding(width, key=next(keys))
        first = size + 2 * fourier_features
        self.first = Linear(first, width, key=next(keys))
        self.blocks = [MLPBlock(width, width, key=next(keys)) for _ in range(depth)]
        self.last = Linear(width, size, zero=True, key=next(keys))
        self.condition = make_embedding(
            width,
            num_classes=num_classes,
            condition_size=condition_size,
            key=next(keys),
        )
        # The last key: the other weights are those of a network without features.
        self.features = (
            VectorFourierFeatures(
                size, fourier_features, scale=fourier_scale, key=next(keys)
            )
            if fourier_features
            else None
        )

    def __call__(
        self,
        t: ScalarLike,
        x: Sample,
        condition: Condition = None,
        *,
        key: PRNGKeyArray | None = None,
    ) -> Sample:
        """**Arguments:**

        - `t`: the time, in [0, 1].
        - `x`: one sample.
        - `condition`: an integer label or a vector, as the network was made for;
            `None` for no condition.
        - `key`: unused; the network has no dropout.

        **Returns:** an array shaped like `x`, of its dtype.

        **Raises:** `ValueError` for a sample or a condition that the network was not
        made for; an error at run time for a label that is out of range.
        """
        del key
        if x.shape != self.shape:
            raise ValueError(
                f"this MLP was made for samples of shape {self.shape}; got {x.shape}. "
                "The call is unbatched: use `jax.vmap` for a batch."
            )
        t = jnp.asarray(t, at_least_float32(x.dtype))
        told = embed("MLP", self.condition, condition)
        embedding = self.embedding(t, told).astype(x.dtype)
        h = x.reshape(-1)
        h = self.first(h if self.features is None else self.features(h))
        for block in self.blocks:
            h = block(embedding, h)
        return self.last(jax.nn.silu(h)).reshape(x.shape)
