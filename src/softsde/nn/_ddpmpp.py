"""DDPM++: the network of DDPM, improved."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
from jaxtyping import PRNGKeyArray

from ._arguments import Arguments, keep
from ._score_net import AbstractScoreNetwork, ScoreNet, make_score_net
from ._score_options import small_options


class DDPMpp(AbstractScoreNetwork):
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
        self.net = make_score_net("DDPMpp", self._arguments, key=key)

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
