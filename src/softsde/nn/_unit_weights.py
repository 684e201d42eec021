"""Weights that keep their length, as EDM2 trains them."""

import jax
import optax

from ._magnitude import MPConv, unit_magnitude


def keep_unit_weights() -> optax.GradientTransformation:
    r"""After each update, scales the weights of each output to magnitude one.

    It acts on [`softsde.nn.MPConv`][] alone, whose output does not depend on that
    length. Without it, the weights grow with training, and the same update turns them
    less and less. It stands last, after the optimiser:

    $$w_{n+1} = \frac{w_n + u_n}{\epsilon + \operatorname{rms}(w_n + u_n)}.$$

    **Returns:**

    An `optax.GradientTransformation`, whose update needs the parameters.

    !!! example

        ```python
        import optax

        optimiser = optax.chain(
            ss.train.make_optimiser(1e-2), ss.nn.keep_unit_weights()
        )
        ```

    ??? cite "Reference"

        Karras, Aittala, Lehtinen, Hellsten, Aila and Laine, *Analyzing and Improving
        the Training Dynamics of Diffusion Models*, CVPR 2024 (Eq. 66).
    """

    def update(updates, state, params=None):
        if params is None:
            raise ValueError(
                "`keep_unit_weights` needs the parameters: call `update(updates, "
                "state, params)`, as `softsde.train` does."
            )
        is_layer = lambda node: isinstance(node, MPConv)
        return jax.tree.map(_to_unit, updates, params, is_leaf=is_layer), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _to_unit(change, part):
    """The update that leads to weights of magnitude one; others are as they were."""
    if not isinstance(part, MPConv):
        return change
    axes = tuple(range(part.weight.ndim - 1))
    return jax.tree.map(
        lambda change, weight: unit_magnitude(weight + change, axes) - weight,
        change,
        part,
    )
