"""NCSNv2: a RefineNet whose output is divided by the standard deviation of a level."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ._arguments import Arguments, keep
from ._at_size import check_dtype
from ._condition import ConditionEmbedding
from ._instance_norm import InstanceNormPlus
from ._published import Constant, StateNames, below
from ._refine import Level, gather
from ._refine_network import (
    AbstractRefineNetwork,
    RefineNet,
    check_levels,
    check_refine_shape,
    make_refine_net,
)


class NCSNv2(AbstractRefineNetwork):
    r"""The second noise conditional score network: its output is divided by $\sigma_i$.

    A RefineNet with a [`softsde.nn.InstanceNormPlus`][] in its residual blocks and no
    norms elsewhere. Only the division of the output depends on the level $i$:

    $$s(x, i) = f(2 x - 1) / \sigma_i, \qquad \sigma_i = \sigma_\text{begin}
    (\sigma_\text{end} / \sigma_\text{begin})^{i / (L - 1)}$$

    This is a score, so it goes with [`softsde.parametrisations.Score`][]. The same
    weights give the same outputs as the published class of this name:
    [`softsde.nn.load_state_dict`][] reads its state dicts.

    ```python
    network = ss.nn.NCSNv2((8, 8, 3), base_channels=8, key=jax.random.key(0))
    score = network(100, jnp.zeros((8, 8, 3)))  # at level 100 of 232
    ```

    ??? cite "Reference"

        Song and Ermon, *Improved Techniques for Training Score-Based Generative
        Models*, NeurIPS 2020.
    """

    net: RefineNet
    condition: ConditionEmbedding | None
    shape: tuple[int, int, int] = eqx.field(static=True)
    _arguments: Arguments = eqx.field(static=True)

    def __init__(
        self,
        shape: Sequence[int],
        *,
        sigma_begin: float = 50.0,
        sigma_end: float = 0.01,
        num_levels: int = 232,
        sigmas: Sequence[float] | Float[np.ndarray, " levels"] | None = None,
        base_channels: int = 128,
        centered: bool = False,
        num_classes: int | None = None,
        condition_size: int | None = None,
        compute_dtype: str | None = None,
        remat: bool = False,
        key: PRNGKeyArray,
    ):
        """**Arguments:** those of [`softsde.nn.NCSN`][], with the levels that are
        published for CIFAR-10.

        **Raises:** `ValueError` for odd sizes, levels that do not fall, or if
        `num_classes` and `condition_size` are both given.
        """
        sigmas = check_levels("NCSNv2", sigma_begin, sigma_end, num_levels, sigmas)
        self._arguments = keep(
            shape=shape,
            sigma_begin=sigma_begin,
            sigma_end=sigma_end,
            num_levels=num_levels,
            sigmas=sigmas,
            base_channels=base_channels,
            centered=centered,
            num_classes=num_classes,
            condition_size=condition_size,
            compute_dtype=compute_dtype,
            remat=remat,
        )
        check_dtype("NCSNv2", compute_dtype)
        self.shape = check_refine_shape("NCSNv2", shape)
        self.net, self.condition = make_refine_net(
            self._arguments,
            self.shape[-1],
            InstanceNormPlus,
            norms_everywhere=False,
            key=key,
        )

    def state_names(self) -> StateNames:
        """The names of the original's state dict, in its order, with their places.

        A condition has none in the original: its weights stay as they are.
        """
        levels = {"sigmas": Constant(self.sigmas)}
        return levels | dict(below("", ("net",), gather(self.net.parts())))

    def to_score(
        self, level: Level, output: Float[Array, "height width channels"]
    ) -> Float[Array, "height width channels"]:
        r"""The output, divided by $\sigma_i$."""
        inside = (level >= 0) & (level < len(self.sigmas))
        sigma = jnp.asarray(self.sigmas, output.dtype)[level]
        return output / jnp.where(inside, sigma, jnp.nan)
