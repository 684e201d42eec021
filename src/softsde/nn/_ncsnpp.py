"""NCSN++: the network of the paper."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
from jaxtyping import PRNGKeyArray

from ._arguments import Arguments, keep
from ._score_net import AbstractScoreNetwork, ScoreNet, make_score_net
from ._score_options import small_options


class NCSNpp(AbstractScoreNetwork):
    """NCSN++ (Song et al., 2021), the network of the paper (Appendix D).

    ```python
    network = ss.nn.NCSNpp.small((8, 8, 3), width=8, key=jax.random.key(0))
    denoiser = ss.Denoiser(network, ss.ve(0.01, 50.0))
    x0_hat = denoiser(0.5, jnp.zeros((8, 8, 3)))
    ```

    An encoder and a decoder of BigGAN's residual blocks, which resample with a filter
    against aliasing. The image enters every level of the encoder once more, and
    everything that passes on a sum of two signals divides it by the square root of 2.

    The same weights give the same outputs as the published code:
    [`softsde.nn.load_state_dict`][] reads its state dicts. What the network is given in
    the place of the time is `sees`: the noise with Fourier features; with positional
    features the index of its level, or `(num_scales - 1) t` without `scale_by_sigma`.
    The published networks give a score, so they go with
    [`softsde.parametrisations.Score`][].

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
        fir: Sequence[float | int] | None = (1, 3, 3, 1),
        resample_with_conv: bool = True,
        progressive: str = "none",
        progressive_input: str = "residual",
        progressive_combine: str = "sum",
        embedding: str = "fourier",
        fourier_scale: float = 16.0,
        conditional: bool = True,
        scale_by_sigma: bool = True,
        sigma_min: float = 0.01,
        sigma_max: float = 50.0,
        num_scales: int = 1000,
        centered: bool = False,
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
        """**Arguments:**

        - `shape`: `(height, width, channels)` of an image. Height and width are
            multiples of `2**(levels - 1)`.
        - `width`: channels of the network before multiplication.
        - `channel_multipliers`: one for each level, finest first.
        - `blocks_per_level`: residual blocks of each level of the encoder; the decoder
            has one more.
        - `attention_resolutions`: the heights of the levels with self-attention. The
            middle always has it.
        - `block`: `"biggan"`, whose blocks also resample, or `"ddpm"`.
        - `fir`: the filter of resampling along each axis; `None` repeats and averages
            pixels.
        - `resample_with_conv`: whether there is a convolution where the resolution
            changes, with blocks of DDPM.
        - `progressive`: how outputs are collected over the levels of the decoder:
            `"none"`, `"output_skip"` (a sum of images) or `"residual"` (a sum of
            feature maps).
        - `progressive_input`: how the image enters the levels of the encoder:
            `"none"`, `"input_skip"` (each level its smaller image) or `"residual"` (a
            sum of feature maps).
        - `progressive_combine`: how `"input_skip"` enters: `"sum"` or `"cat"`.
        - `embedding`: features of the time: `"fourier"` or `"positional"`.
        - `fourier_scale`: standard deviation of the Fourier features' frequencies.
        - `conditional`: whether the network is told the time at all.
        - `scale_by_sigma`: whether the output is divided by the noise, as a score is.
        - `sigma_min`, `sigma_max`, `num_scales`: geometric levels of the noise that
            positional features number.
        - `centered`: whether images are centred at 0. Otherwise they are in [0, 1], and
            the network takes `2 x - 1`.
        - `skip_rescale`: whether sums of two signals are divided by the square root
            of 2.
        - `init_scale`: variance of the output of a new block, 0 for nearly zero.
        - `activation`: `"swish"`, `"elu"`, `"relu"` or `"lrelu"`.
        - `dropout`: probability with which a feature is dropped inside a block, where
            the call is given a key.
        - `num_classes`: the condition is an integer label from 0 to `num_classes - 1`;
            -1 stands for no label. `None` is a network without labels.
        - `condition_size`: the condition is a vector of so many floating-point numbers;
            zeros stand for no condition. Not together with `num_classes`.
        - `compute_dtype`: `"bfloat16"` computes in half precision what is neither a
            parameter, a norm, a softmax nor the embedding of the time; `None` computes
            in the dtype of the image.
        - `remat`: whether the gradient computes the inside of each block again,
            instead of keeping it in memory.
        - `scan`: whether equal blocks in a row are one loop. The program is shorter and
            compiles faster; each step copies the weights of those blocks.
        - `key`: for the initial weights.

        **Raises:** `ValueError` for options that do not exist or do not go together,
        and for a shape that cannot be halved so often.
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
        self.net = make_score_net("NCSNpp", self._arguments, key=key)

    @classmethod
    def cifar10_continuous(cls, *, key: PRNGKeyArray, **changes: Any) -> "NCSNpp":
        """The published network for CIFAR-10, of 62.8 million parameters.

        It is `configs/ve/cifar10_ncsnpp_continuous` of the published code.

        **Arguments:**

        - `key`: for the initial weights.
        - `changes`: options to change, by name.

        **Returns:** the network.
        """
        options: dict[str, Any] = {"shape": (32, 32, 3)}
        return cls(**options | changes, key=key)

    @classmethod
    def cifar10_deep(cls, *, key: PRNGKeyArray, **changes: Any) -> "NCSNpp":
        """The published deep network for CIFAR-10, of 107.6 million parameters.

        It is `configs/ve/cifar10_ncsnpp_deep_continuous` of the published code.

        **Arguments:** as [`softsde.nn.NCSNpp.cifar10_continuous`][].

        **Returns:** the network.
        """
        options: dict[str, Any] = {"shape": (32, 32, 3), "blocks_per_level": 8}
        return cls(**options | changes, key=key)

    @classmethod
    def celeba64(cls, *, key: PRNGKeyArray, **changes: Any) -> "NCSNpp":
        """The published network for CelebA at 64x64, of 62.7 million parameters.

        It is `configs/ve/celeba_ncsnpp` of the published code, and sees the index of a
        level of the noise.

        **Arguments:** as [`softsde.nn.NCSNpp.cifar10_continuous`][].

        **Returns:** the network.
        """
        options: dict[str, Any] = {
            "shape": (64, 64, 3),
            "embedding": "positional",
            "sigma_max": 90.0,
        }
        return cls(**options | changes, key=key)

    @classmethod
    def small(
        cls, shape: Sequence[int], *, key: PRNGKeyArray, **changes: Any
    ) -> "NCSNpp":
        """A network that trains on a laptop, of 1.3 million parameters.

        Three levels of 32, 64 and 64 channels with one block each, attention at the
        coarsest, for images centred at 0. The output is not divided by the noise, so it
        goes with the default parametrisation of every process.

        **Arguments:**

        - `shape`: `(height, width, channels)`; height and width are multiples of 4.
        - `key`: for the initial weights.
        - `changes`: options to change, by name.

        **Returns:** the network.
        """
        options: dict[str, Any] = small_options(shape) | {"scale_by_sigma": False}
        return cls(shape, **options | changes, key=key)
