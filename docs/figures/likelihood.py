"""The numbers on garments in docs/likelihood.md:

    python -m docs.figures.likelihood [--num 16]

Bits a dimension of test images of Fashion-MNIST under the model that comes with the
code, of the same images with their pixels shuffled, and of uniform noise.
"""

import argparse
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import softsde as ss
from experiments import _build, _run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num", type=int, default=16)
    parser.add_argument("--tolerance", type=float, default=1e-3)
    options = parser.parse_args()

    model = _run.open_model("fashion_mnist_blur")
    source = _build.make_source(model.config.data)
    training = ss.data.to_array(source, limit=_build.FITTED_ON)
    held_out = _build.make_source(model.config.data, "test")
    images = ss.data.to_array(held_out, limit=options.num)
    rng = np.random.default_rng(0)
    flat = images.reshape(len(images), -1)
    kinds = {
        "test images": images,
        "the same, pixels shuffled": rng.permuted(flat, axis=1).reshape(images.shape),
        "uniform bytes": np.float32(rng.integers(0, 256, images.shape) / 255),
    }
    priors = {
        "Gaussian": ss.GaussianPrior.fit(model.process, training),
        "empirical": model.prior,
    }
    print(f"bits a dimension of {options.num}, Hutchinson, one draw each")
    print(f"{'':40}{'mean':>8}{'s.e.':>8}{'NFE':>8}{'seconds':>9}")

    @eqx.filter_jit
    def run(prior, images, keys):
        one = lambda image, key: ss.bits_per_dim(
            model.process,
            model.denoiser,
            image,
            prior=prior,
            divergence="hutchinson",
            rtol=options.tolerance,
            atol=options.tolerance,
            key=key,
        )
        return jax.vmap(one)(images, keys)

    keys = jax.random.split(jax.random.key(0), options.num)
    for prior_name, prior in priors.items():
        for name, images in kinds.items():
            if prior_name == "empirical" and name != "test images":
                continue
            began = time.monotonic()
            found = jax.block_until_ready(run(prior, jnp.asarray(images), keys))
            bits = np.asarray(found.value)
            error = bits.std(ddof=1) / np.sqrt(len(bits))
            nfe = np.asarray(found.nfe).mean()
            print(
                f"{name + ', ' + prior_name:40}{bits.mean():8.3f}{error:8.3f}"
                f"{nfe:8.0f}{time.monotonic() - began:9.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
