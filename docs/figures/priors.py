"""Priors for the end of a blur, on images of your own or by name:

    python docs/figures/priors.py FOLDER [--size 32] [--num 4000] [--blurs 18 36]

For zero and for periodic padding: how well the paper's prior (one Gaussian colour for
the whole image, Appendix D) and the fitted priors describe what the blur and the noise
leave of images that they were not fitted on. The numbers are nats an image: the mean
log density of held-out states under the best prior, less that under each.
"""

import argparse

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import softsde as ss


def held_out(process: ss.Process, images: np.ndarray, seed: int) -> jax.Array:
    """States at the end of time of these images."""
    keys = jax.random.split(jax.random.key(seed), len(images))
    perturb = lambda x, key: process.perturb(process.t1, x, key=key)[0]
    return eqx.filter_jit(jax.vmap(perturb))(jnp.asarray(images), keys)


@eqx.filter_jit
def blur_all(process: ss.Process, images: jax.Array) -> jax.Array:
    return jax.vmap(lambda x: process.apply(process.t1, x))(images)


@eqx.filter_jit
def log_densities(prior: ss.sampling.AbstractPrior, states: jax.Array) -> jax.Array:
    return jax.lax.map(prior.log_prob, states, batch_size=16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="a folder of pictures, or a name such as cifar10")
    parser.add_argument("--size", type=int, default=None)
    parser.add_argument("--num", type=int, default=4000, help="images to fit on")
    parser.add_argument("--held-out", type=int, default=1000)
    parser.add_argument("--blurs", type=float, nargs="+", default=[18.0, 36.0])
    arguments = parser.parse_args()

    fitted = ss.data.to_array(
        ss.data.load(arguments.data, size=arguments.size), limit=arguments.num
    )
    test = ss.data.to_array(
        ss.data.load(arguments.data, "test", size=arguments.size),
        limit=arguments.held_out,
    )
    shape = fitted.shape[1:]
    print(
        f"{len(fitted)} images of {shape} to fit on, {len(test)} held out; nats an "
        "image below the best of the row, and its standard error"
    )
    print(
        f"{'padding':10}{'blur':>6}{'flat colour':>18}{'Gaussian':>18}{'empirical':>18}"
    )
    for padding in ("zero", "periodic"):
        for blur in arguments.blurs:
            process = ss.soft_blur(shape, max_blur=blur, padding=padding)
            states = held_out(process, test, 0)
            kinds = (ss.sampling.FlatColourPrior, ss.GaussianPrior, ss.EmpiricalPrior)
            densities = np.stack(
                [log_densities(kind.fit(process, fitted), states) for kind in kinds]
            ).astype(np.float64)
            gaps = densities[densities.mean(1).argmax()] - densities
            error = gaps.std(1) / np.sqrt(len(test))
            cells = [
                f"{g:.2f} +- {e:.2f}" for g, e in zip(gaps.mean(1), error, strict=True)
            ]
            print(f"{padding:10}{blur:6g}" + "".join(f"{c:>18}" for c in cells))
            # What is left of the images, beside the noise of 0.1.
            blurred = np.asarray(blur_all(process, jnp.asarray(test[:256])))
            uneven = (blurred - blurred.mean((1, 2), keepdims=True)).std()
            print(f"{'':16}  unevenness of the blurred images {uneven:.4f}, noise 0.1")


if __name__ == "__main__":
    main()
