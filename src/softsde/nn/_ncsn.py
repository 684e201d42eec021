"""NCSN: the first network of Song and Ermon, told the index of a level."""

from collections.abc import Sequence

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ._arguments import Arguments, keep
from ._at_size import check_dtype
from ._condition import ConditionEmbedding
from ._instance_norm import ConditionalInstanceNormPlus
from ._published import StateNames, below
from ._refine import Level, Norm, gather
from ._refine_network import (
    AbstractRefineNetwork,
    RefineNet,
    check_levels,
    check_refine_shape,
    make_refine_net,
)


class NCSN(AbstractRefineNetwork):
    r"""The first noise conditional score network: its norms depend on the level.

    A RefineNet in which every norm is a [`softsde.nn.ConditionalInstanceNormPlus`][]
    and reads the index $i$ of the level of noise. The levels fall geometrically:

    $$\sigma_i = \sigma_\text{begin}
    (\sigma_\text{end} / \sigma_\text{begin})^{i / (L - 1)}, \qquad
    i = 0, \dots, L - 1$$

    Its output is the score of images in $[0, 1]$, which it maps to $[-1, 1]$ itself, so
    it goes with [`softsde.parametrisations.Score`][]. The same weights give the same
    outputs as the published class of this name: [`softsde.nn.load_state_dict`][] reads
    its state dicts.

    ```python
    network = ss.nn.NCSN((8, 8, 3), base_channels=8, key=jax.random.key(0))
    score = network(3, jnp.zeros((8, 8, 3)))  # at level 3 of 10
    ```

    ??? cite "Reference"

        Song and Ermon, *Generative Modeling by Estimating Gradients of the Data
        Distribution*, NeurIPS 2019.
    """

    net: RefineNet
    condition: ConditionEmbedding | None
    shape: tuple[int, int, int] = eqx.field(static=True)
    _arguments: Arguments = eqx.field(static=True)

    def __init__(
        self,
        shape: Sequence[int],
        *,
        sigma_begin: float = 1.0,
        sigma_end: float = 0.01,
        num_levels: int = 10,
        sigmas: Sequence[float] | Float[np.ndarray, " levels"] | None = None,
        base_channels: int = 128,
        centered: bool = False,
        num_classes: int | None = None,
        condition_size: int | None = None,
        compute_dtype: str | None = None,
        remat: bool = False,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `shape`: `(height, width, channels)` of an image; height and width are even.
        - `sigma_begin`, `sigma_end`: largest and smallest standard deviation of noise.
        - `num_levels`: number of levels of noise.
        - `sigmas`: the levels themselves, largest first, where they do not fall
            geometrically, such as those of [`softsde.schedules.noise_sequence`][]. The
            three arguments before are then not used.
        - `base_channels`: width of the finest level; the others have twice that.
        - `centered`: whether images are in [-1, 1] already. By default they are in
            [0, 1], and the network maps them by `2 x - 1`.
        - `num_classes`: the condition is an integer label from 0 to `num_classes - 1`;
            -1 stands for no label. `None` is a network without labels. The embedding of
            a condition is added to the first feature map.
        - `condition_size`: the condition is a vector of so many floating-point numbers;
            zeros stand for no condition. Not together with `num_classes`.
        - `compute_dtype`: dtype inside the network, such as `"bfloat16"`; by default
            that of the images. Means and variances are float32 in any case.
        - `remat`: whether the backward pass computes each block again instead of
            storing what is inside. It needs less memory and more time.
        - `key`: for the initial weights.

        **Raises:** `ValueError` for odd sizes, levels that do not fall, or if
        `num_classes` and `condition_size` are both given.
        """
        sigmas = check_levels("NCSN", sigma_begin, sigma_end, num_levels, sigmas)
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
        check_dtype("NCSN", compute_dtype)
        self.shape = check_refine_shape("NCSN", shape)
        number = len(self.sigmas)

        def make_norm(channels: int, *, key: PRNGKeyArray) -> Norm:
            return ConditionalInstanceNormPlus(channels, number, key=key)

        self.net, self.condition = make_refine_net(
            self._arguments,
            self.shape[-1],
            make_norm,
            norms_everywhere=True,
            key=key,
        )

    def state_names(self) -> StateNames:
        """The names of the original's state dict, in its order, with their places.

        A condition has none in the original: its weights stay as they are.
        """
        return dict(below("", ("net",), gather(self.net.parts())))

    def to_score(
        self, level: Level, output: Float[Array, "height width channels"]
    ) -> Float[Array, "height width channels"]:
        """The output itself: the norms have read the level."""
        del level
        return output
