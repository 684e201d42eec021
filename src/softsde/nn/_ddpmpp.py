"""DDPM++: the network of DDPM, improved."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from .._types import Condition, ScalarLike
from ._arguments import Arguments, keep, show
from ._layers import image_shape
from ._published import AbstractPublished, StateNames
from ._score_net import ScoreNet
from ._score_options import ScoreOptions, small_options
from ._sees import AbstractSees


class DDPMpp(AbstractPublished):
    """DDPM++ (Song et al., 2021): NCSN++ without its filters and its input pyramid.

    ```python
    network = ss.nn.DDPMpp.small((8, 8, 3), width=8, key=jax.random.key(0))
    denoiser = ss.Denoiser(network, ss.vp(), ss.parametrisations.Noise())
    x0_hat = denoiser(0.5, jnp.zeros((8, 8, 3)))
    ```

    It is the same network as [`softsde.nn.NCSNpp`][] with other options: positional
    features of `999 t`, averages and repeated pixels in the place of filters, and
    outputs that are not divided by the noise. The published networks give the noise,
    so they go with [`softsde.parametrisations.Noise`][].

    ??? cite "Reference"

        Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole, *Score-Based Generative
        Modeling through Stochastic Differential Equations*, ICLR 2021.
    """

    net: ScoreNet
    _arguments: Arguments = eqx.field(static=True)

    def __init__(
        self,
        shape: Sequence[int],
        *,
        width: int = 128,
        channel_multipliers: Sequence[int] = (1, 2, 2, 2),
        blocks_per_level: int = 4,
        attention_resolutions: Sequence[int] = (16,),
        block: str = "biggan",
        fir: Sequence[float | int] | None = None,
        resample_with_conv: bool = True,
        progressive: str = "none",
        progressive_input: str = "none",
        progressive_combine: str = "sum",
        embedding: str = "positional",
        fourier_scale: float = 16.0,
        conditional: bool = True,
        scale_by_sigma: bool = False,
        sigma_min: float = 0.01,
        sigma_max: float = 50.0,
        num_scales: int = 1000,
        centered: bool = True,
        skip_rescale: bool = True,
        init_scale: float = 0.0,
        activation: str = "swish",
        dropout: float = 0.1,
        num_classes: int | None = None,
        condition_size: int | None = None,
        compute_dtype: str | None = None,
        remat: bool = False,
        scan: bool = False,
        key: PRNGKeyArray,
    ):
        """**Arguments:** as [`softsde.nn.NCSNpp`][], with other defaults.

        **Raises:** `ValueError`, as there.
        """
        self._arguments = keep(
            shape=shape,
            width=width,
            channel_multipliers=channel_multipliers,
            blocks_per_level=blocks_per_level,
            attention_resolutions=attention_resolutions,
            block=block,
            fir=fir,
            resample_with_conv=resample_with_conv,
            progressive=progressive,
            progressive_input=progressive_input,
            progressive_combine=progressive_combine,
            embedding=embedding,
            fourier_scale=fourier_scale,
            conditional=conditional,
            scale_by_sigma=scale_by_sigma,
            sigma_min=sigma_min,
            sigma_max=sigma_max,
            num_scales=num_scales,
            centered=centered,
            skip_rescale=skip_rescale,
            init_scale=init_scale,
            activation=activation,
            dropout=dropout,
            num_classes=num_classes,
            condition_size=condition_size,
            compute_dtype=compute_dtype,
            remat=remat,
            scan=scan,
        )
        options = dict(self._arguments)
        del options["shape"]
        self.net = ScoreNet(
            "DDPMpp",
            image_shape("DDPMpp", shape),
            ScoreOptions(**options),
            key=key,
        )

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that it was made with, without the key, as JSON has them.

        `DDPMpp(**network.arguments, key=key)` has the same structure.
        """
        return show(self._arguments)

    @property
    def sees(self) -> AbstractSees:
        """What the network is given in the place of the time."""
        return self.net.options.sees()

    def __call__(
        self,
        t: ScalarLike,
        x: Float[Array, "height width channels"],
        condition: Condition = None,
        *,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "height width channels"]:
        """**Arguments:**

        - `t`: the scalar that `sees` says, which [`softsde.Denoiser`][] computes.
        - `x`: an image.
        - `condition`: an integer label or a vector, as the network was made for;
            `None` for no condition.
        - `key`: for dropout. Without one there is none, which is inference.

        **Returns:** an array shaped like `x`, of its dtype.

        **Raises:** `ValueError` for an image or a condition that the network was not
        made for; an error at run time for a label that is out of range.
        """
        return self.net(t, x, condition, key=key)

    def state_names(self) -> StateNames:
        """The names of the original's state dict, in its order, with their places.

        A condition has none in the original: its weights stay as they are.
        """
        return self.net.state_names(("net",))

    @classmethod
    def cifar10_continuous(cls, *, key: PRNGKeyArray, **changes: Any) -> "DDPMpp":
        """The published network for CIFAR-10, of 61.8 million parameters.

        It is `configs/vp/cifar10_ddpmpp_continuous` of the published code.

        **Arguments:**

        - `key`: for the initial weights.
        - `changes`: options to change, by name.

        **Returns:** the network.
        """
        options: dict[str, Any] = {"shape": (32, 32, 3)}
        return cls(**options | changes, key=key)

    @classmethod
    def small(
        cls, shape: Sequence[int], *, key: PRNGKeyArray, **changes: Any
    ) -> "DDPMpp":
        """A network that trains on a laptop, of 1.3 million parameters.

        Three levels of 32, 64 and 64 channels with one block each, attention at the
        coarsest.

        **Arguments:**

        - `shape`: `(height, width, channels)`; height and width are multiples of 4.
        - `key`: for the initial weights.
        - `changes`: options to change, by name.

        **Returns:** the network.
        """
        return cls(shape, **small_options(shape) | changes, key=key)
