"""A condition is a label, a vector or nothing, given beside the sample."""

from typing import NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._types import Condition
from ._initial_weights import initial_weight


class ConditionEmbedding(eqx.Module):
    r"""A linear map $c \mapsto c\, W$ of the condition, to be added to the time's.

    A label $k$ is the vector $c = e_k$, so its embedding is a row of $W$. There is no
    bias: $c = 0$ says nothing and adds nothing, and so does the label -1.

    ??? cite "References"

        Dhariwal and Nichol, *Diffusion Models Beat GANs on Image Synthesis*, NeurIPS
        2021 (labels are added to the embedding of the time). Karras, Aittala, Aila and
        Laine, *Elucidating the Design Space of Diffusion-Based Generative Models*,
        NeurIPS 2022 (no label is the vector 0).
    """

    weight: Float[Array, "in_size size"]
    is_label: bool = eqx.field(static=True)

    def __init__(
        self,
        size: int,
        *,
        num_classes: int | None = None,
        condition_size: int | None = None,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `size`: length of the embedding.
        - `num_classes`: the condition is an integer label from 0 to `num_classes - 1`,
            or -1 for none.
        - `condition_size`: the condition is a vector of so many floating-point numbers.
            Give one of the two.
        - `key`: for the initial weights.

        **Raises:** `ValueError` unless one of the two is given, and positive.
        """
        given = condition_length(num_classes, condition_size)
        # The embedding has unit variance for a label as for a vector of unit variance.
        fan_in = 1 if num_classes is not None else given
        self.weight = initial_weight(key, (given, size), fan_in=fan_in)
        self.is_label = num_classes is not None

    def __call__(self, condition: Condition) -> Float[Array, " size"]:
        number, dtype = self.weight.shape[0], self.weight.dtype
        told = condition_vector(condition, number, self.is_label, dtype)
        return told @ self.weight.astype(told.dtype)


def condition_length(num_classes: int | None, condition_size: int | None) -> int:
    """The length of the vector that stands for a condition.

    **Raises:** `ValueError` unless one of the two is given, and positive.
    """
    given = [n for n in (num_classes, condition_size) if n is not None]
    if len(given) != 1 or given[0] < 1:
        raise ValueError(
            f"a network got `num_classes={num_classes}` and `condition_size="
            f"{condition_size}`; expected one positive number: `num_classes` if the "
            "condition is a label, `condition_size` if it is a vector. Give one of "
            "them."
        )
    return given[0]


def condition_vector(
    condition: Condition, number: int, is_label: bool, dtype: np.dtype
) -> Float[Array, " number"]:
    """A condition as a vector: one-hot for a label, zeros for the label -1.

    **Arguments:**

    - `condition`: an integer label, or a vector of floating-point numbers.
    - `number`: of classes, or the length of the vector.
    - `is_label`: which of the two is expected.
    - `dtype`: of the vector of a label.

    **Returns:** the vector.

    **Raises:** `ValueError` for a condition of another kind or shape; an error at run
    time for a label that is out of range.
    """
    condition = jnp.asarray(condition)
    if not is_label:
        floating = jnp.issubdtype(condition.dtype, jnp.floating)
        if condition.shape != (number,) or not floating:
            raise ValueError(
                f"this network was made with `condition_size={number}` and takes "
                f"a vector of {number} floating-point numbers; got "
                f"{condition.dtype} of shape {condition.shape}. The call is "
                "unbatched: use `jax.vmap` for a batch."
            )
        return condition
    if condition.shape != () or not jnp.issubdtype(condition.dtype, jnp.integer):
        raise ValueError(
            f"this network was made with `num_classes={number}` and takes one "
            f"integer label; got {condition.dtype} of shape {condition.shape}. "
            "The call is unbatched: use `jax.vmap` for a batch."
        )
    label = eqx.error_if(
        condition,
        (condition < -1) | (condition >= number),
        f"this network was made with `num_classes={number}` and got a label that "
        f"is out of range; expected 0 to {number - 1}, or -1 for no label.",
    )
    # `one_hot` of -1 is zero.
    return jax.nn.one_hot(label, number, dtype=dtype)


def make_embedding(
    size: int,
    *,
    num_classes: int | None,
    condition_size: int | None,
    key: PRNGKeyArray,
) -> ConditionEmbedding | None:
    """The embedding, or `None` for a network that takes no condition."""
    if num_classes is None and condition_size is None:
        return None
    return ConditionEmbedding(
        size, num_classes=num_classes, condition_size=condition_size, key=key
    )


def embed(
    owner: str, embedding: ConditionEmbedding | None, condition: Condition
) -> Float[Array, " size"] | None:
    """The vector that a condition adds; `None` for no condition."""
    if condition is None:
        return None
    if embedding is None:
        refuse_condition(owner)
    return embedding(condition)


def refuse_condition(owner: str) -> NoReturn:
    """**Raises:** `ValueError` for a condition of a network that takes none."""
    raise ValueError(
        f"this {owner} was made without conditions and got one. Make it with "
        "`num_classes=` for integer labels or `condition_size=` for vectors."
    )
