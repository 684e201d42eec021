"""One member of every kind of corruption, as dense matrices in float64."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from softsde import corruptions as sc

IMAGE = (4, 6, 2)
VECTOR = (6,)
# Half of it each way for the central difference.
STEP = 1e-5


def _leftward(theta, x):
    return (1 - theta) * x + theta * jnp.roll(x, -1, axis=0)


def _butterworth(theta, squared):
    return 1 / (1 + (theta**2 * squared) ** 2)


def _resonance(theta, squared):
    return jnp.cos(theta * squared)


def cases():
    """Name to corruption, shape of a sample, and three levels inside the range."""
    fractions = (0.13, 0.4, 0.77)
    pixels = (0.4, 1.3, 3.0)
    blocks = (1.0, 2.0, 2.7)
    made = {
        "identity": (lambda shape: sc.Identity(), pixels, "both"),
        "scale": (lambda shape: sc.Scale(), pixels, "both"),
        "fade": (lambda shape: sc.Fade(), fractions, "image"),
        "heat": (sc.HeatBlur, pixels, "both"),
        "heat_periodic": (lambda s: sc.HeatBlur(s, "fourier"), pixels, "image"),
        "low_pass": (
            lambda s: sc.SpectralFilter(
                s,
                _butterworth,
                nonnegative=True,
                differentiable=True,
                identity_level=0.0,
            ),
            pixels,
            "image",
        ),
        "resonance": (
            lambda s: sc.SpectralFilter(s, _resonance, "fourier"),
            pixels,
            "vector",
        ),
        "blur_zero": (lambda s: sc.GaussianBlur(s, 3), pixels, "image"),
        "blur_reflect": (lambda s: sc.GaussianBlur(s, 3, "reflect"), pixels, "both"),
        "blur_symmetric": (
            lambda s: sc.GaussianBlur(s, 3, "symmetric"),
            pixels,
            "image",
        ),
        "blur_periodic": (lambda s: sc.GaussianBlur(s, 3, "periodic"), pixels, "image"),
        "motion": (lambda s: sc.MotionBlur(s, 35.0), pixels, "image"),
        "centre_mask": (sc.CenterMask, fractions, "both"),
        "border_mask": (lambda s: sc.CenterMask(s, "border"), fractions, "image"),
        "soft_mask": (lambda s: sc.SoftMask(s, 0.4), fractions, "both"),
        "random_mask": (
            lambda s: sc.RandomMask(s, key=jax.random.key(3)),
            fractions,
            "both",
        ),
        "downsample": (sc.Downsample, blocks, "both"),
        "downsample_unnested": (
            lambda s: sc.Downsample(s, (1, 2, 3)),
            (1.0, 2.0, 3.0),
            "vector",
        ),
        "desaturate": (lambda s: sc.Desaturate(), fractions, "image"),
        "desaturate_luma": (lambda s: sc.Desaturate((0.8, 0.2)), fractions, "image"),
        "function": (lambda s: sc.FunctionCorruption(_leftward, s), fractions, "both"),
        "relevel": (
            lambda s: sc.Relevel(
                sc.HeatBlur(s), jnp.sqrt, differentiable=True, level_range=(0.0, None)
            ),
            pixels,
            "image",
        ),
        "compose_shared": (
            lambda s: sc.Compose(
                sc.HeatBlur(s), sc.Fade(), sc.SpectralFilter(s, _butterworth)
            ),
            fractions,
            "image",
        ),
        "compose_scalar": (
            lambda s: sc.Compose(sc.GaussianBlur(s, 3), sc.Fade()),
            fractions,
            "image",
        ),
        "compose_unlike": (
            lambda s: sc.Compose(sc.HeatBlur(s), sc.SoftMask(s, 0.4)),
            fractions,
            "image",
        ),
        "compose_masks": (
            lambda s: sc.Compose(sc.CenterMask(s), sc.SoftMask(s, 0.4)),
            fractions,
            "image",
        ),
        "mix_shared": (
            lambda s: sc.Mix(sc.Identity(), sc.HeatBlur(s), weights=[0.3, 0.7]),
            pixels,
            "image",
        ),
        "mix_unlike": (
            lambda s: sc.Mix(sc.HeatBlur(s), sc.SoftMask(s, 0.4), weights=[0.3, 0.7]),
            fractions,
            "image",
        ),
    }
    out = {}
    for name, (make, levels, shapes) in made.items():
        for kind, shape in (("image", IMAGE), ("vector", VECTOR)):
            if shapes in (kind, "both"):
                out[f"{name}-{kind}"] = (make, shape, levels)
    return out


def differentiated(corruption):
    return corruption.structure.differentiable is not False


def _everything(corruption, theta, x, y):
    operator = corruption.operator(theta, jax.ShapeDtypeStruct(x.shape, x.dtype))
    every = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
    columns = jax.vmap(lambda v: corruption.apply(theta, v))(every)
    out = {
        # Not from lineax, which believes the promises that are on trial here.
        "matrix": columns.reshape(x.size, x.size).T,
        "as_matrix": operator.as_matrix(),
        "apply": corruption.apply(theta, x),
        "adjoint": corruption.adjoint(theta, y),
    }
    if differentiated(corruption):
        out["dot"] = corruption.apply_dot(theta, x)
        out["gradient"] = jax.grad(lambda v: jnp.vdot(y, corruption.apply(v, x)))(theta)
    if corruption.structure.basis is not None:
        coefficients = jax.vmap(corruption.to_basis)(every)
        out["basis"] = coefficients.reshape(x.size, x.size).T
        values = jnp.broadcast_to(corruption.eigenvalues(theta), x.shape)
        out["eigenvalues"] = values.reshape(-1)
        out["back"] = corruption.from_basis(corruption.to_basis(x))
    return out


# Each case compiles once and runs once, so nothing is gained by optimising it.
QUICKLY = {"xla_backend_optimization_level": 0}


def everything(corruption, thetas, xs, ys):
    """All that a corruption computes, at several levels at once: one compilation."""

    @functools.partial(jax.jit, compiler_options=QUICKLY)
    def compute(arrays, thetas, xs, ys):
        module = eqx.combine(arrays, static)
        one = lambda theta, x, y: _everything(module, theta, x, y)
        return jax.vmap(one)(thetas, xs, ys)

    arrays, static = eqx.partition(corruption, eqx.is_array)
    seen = compute(arrays, *map(jnp.asarray, (thetas, xs, ys)))
    return {name: np.asarray(value) for name, value in seen.items()}


def draws(shape, number):
    rng = np.random.default_rng(7)
    return rng.normal(size=(2, number, *shape))


def broken_promises(structure, seen):
    """Names of the promises that the dense matrices of some levels show to be false."""
    broken = set()
    matrices = seen["matrix"]
    size = matrices.shape[-1]

    def far(a, b):
        return np.abs(np.asarray(a) - np.asarray(b)).max() > 1e-11

    if structure.symmetric and far(matrices, matrices.transpose(0, 2, 1)):
        broken.add("symmetric")
    if structure.positive_semidefinite:
        parts = (matrices + matrices.transpose(0, 2, 1)) / 2
        if np.linalg.eigvalsh(parts).min() < -1e-12:
            broken.add("positive_semidefinite")
    if structure.commuting:
        products = matrices[:, None] @ matrices[None]
        if far(products, products.transpose(1, 0, 2, 3)):
            broken.add("commuting")
    if structure.identity_level is not None and far(seen["at_identity"], np.eye(size)):
        broken.add("identity_level")
    if structure.basis is not None:
        for q, values, matrix in zip(
            seen["basis"], seen["eigenvalues"], matrices, strict=True
        ):
            if far(q @ q.T, np.eye(size)) or far(q @ matrix @ q.T, np.diag(values)):
                broken.add("basis")
    return broken
