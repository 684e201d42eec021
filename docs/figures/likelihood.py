"""The two tables of docs/likelihood.md, in some ten minutes on two cores:

    python docs/figures/likelihood.py [--num 16] [--tolerance 1e-3] [--one]

Log densities at several tolerances against the exact ones, on Gaussian data with the
moments of digits. And bits a dimension of test images of Fashion-MNIST under the model
that comes with the package, of the same images with their pixels shuffled, and of
uniform bytes. With `--one`, no more than the time of one image by the defaults.
"""

import argparse
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import softsde as ss

TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5)


def tolerances(num: int) -> None:
    """Errors of the log density a dimension, in single precision."""
    digits = ss.data.to_array(ss.data.load("digits"))
    pixels = digits.reshape(len(digits), -1)
    oracle = ss.oracles.GaussianOracle(
        digits.mean(0), np.cov(pixels.T).astype(np.float32)
    )
    processes = {
        "soft_blur": ss.soft_blur(digits.shape[1:], max_blur=4.0),
        "ve": ss.ve(0.01, 20.0),
    }
    print(f"errors of the log density of {num} images of 8x8, nats a dimension")
    print(f"{'':12}{'tolerance':>10}{'mean':>10}{'worst':>10}{'NFE':>6}")
    for name, process in processes.items():
        denoiser, prior = oracle.denoiser(process), ss.ExactPrior(oracle, process)

        @jax.vmap
        def draw(key, process=process):
            data_key, noise_key = jax.random.split(key)
            x0 = oracle.sample(data_key)
            return process.perturb(process.t0, x0, key=noise_key)[0]

        xs = draw(jax.random.split(jax.random.key(0), num))
        density = lambda x, process=process: oracle.log_prob(process, process.t0, x)
        truth = jax.vmap(density)(xs)
        for tolerance in TOLERANCES:

            @eqx.filter_jit
            @jax.vmap
            def run(x, denoiser=denoiser, prior=prior, tolerance=tolerance):
                return ss.log_likelihood(
                    denoiser, x, prior=prior, rtol=tolerance, atol=tolerance
                )

            found = run(xs)
            error = np.abs(np.asarray(found.log_prob - truth)) / pixels.shape[1]
            nfe = np.asarray(found.nfe).mean()
            print(
                f"{name:12}{tolerance:10.0e}{error.mean():10.1e}{error.max():10.1e}"
                f"{nfe:6.0f}",
                flush=True,
            )


def one_image() -> None:
    """A garment by the defaults of `log_likelihood`, with the time that it takes."""
    model = ss.load("fashion_mnist_blur")
    training = ss.data.to_array(ss.data.load("fashion_mnist"), limit=3000)
    image = ss.data.to_array(ss.data.load("fashion_mnist", "test"), limit=1)[0]
    prior = ss.GaussianPrior.fit(model.process, training)
    for call in ("the first call, with compilation", "the second"):
        began, processor = time.perf_counter(), time.process_time()
        found = ss.log_likelihood(
            model.denoiser, jnp.asarray(image), prior=prior, key=jax.random.key(0)
        )
        value = float(found.log_prob)
        print(
            f"one image of {image.shape}, {call}: {time.perf_counter() - began:.1f} s "
            f"({time.process_time() - processor:.1f} s of processor), "
            f"{int(found.nfe)} evaluations, {value:.1f} nats",
            flush=True,
        )


def garments(num: int, tolerance: float) -> None:
    """Bits a dimension under the model of garments."""
    model = ss.load("fashion_mnist_blur")
    process = model.process
    training = ss.data.to_array(ss.data.load("fashion_mnist"), limit=3000)
    images = ss.data.to_array(ss.data.load("fashion_mnist", "test"), limit=num)
    rng = np.random.default_rng(0)
    flat = images.reshape(len(images), -1)
    kinds = {
        "test images": images,
        "the same, pixels shuffled": rng.permuted(flat, axis=1).reshape(images.shape),
        "uniform bytes": np.float32(rng.integers(0, 256, images.shape) / 255),
    }
    priors = {
        "Gaussian": ss.GaussianPrior.fit(process, training),
        "empirical": ss.EmpiricalPrior.fit(process, training),
    }
    print(f"\nbits a dimension of {num}, Hutchinson, one draw each, tol {tolerance:g}")
    print(f"{'':40}{'mean':>8}{'s.e.':>8}{'NFE':>8}{'seconds':>9}")

    @eqx.filter_jit
    def run(prior, images, keys):
        one = lambda image, key: ss.bits_per_dim(
            model.denoiser, image, prior=prior, rtol=tolerance, atol=tolerance, key=key
        )
        return jax.vmap(one)(images, keys)

    keys = jax.random.split(jax.random.key(0), num)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num", type=int, default=16)
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--one", action="store_true", help="time one image, no more")
    options = parser.parse_args()
    if options.one:
        one_image()
        return
    tolerances(options.num)
    garments(options.num, options.tolerance)


if __name__ == "__main__":
    main()
