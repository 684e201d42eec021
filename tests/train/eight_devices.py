"""Trains one small UNet on every mesh of eight devices, and prints what differs.

`test_eight_devices.py` runs it. The last line is JSON: for each mesh the largest
difference from one device, the memory of the state, and the collectives.
"""

import json
import re
import tempfile

import equinox as eqx
import jax
import numpy as np

import softsde as ss

STEPS, SHAPE = 20, (8, 8, 1)

source = ss.data.digits()
process = ss.soft_blur(SHAPE, max_blur=3.0)
optimiser = ss.train.make_optimiser(1e-3, warmup_steps=5)
loss_fn = ss.losses.on_batches(ss.losses.SoftScoreMatching("inverse_std"))
images = ss.data.to_array(source, limit=64)
prior = ss.GaussianPrior.fit(process, images)


def make_model(key):
    network = ss.nn.UNet(
        SHAPE,
        base_channels=32,
        channel_multipliers=(1, 2),
        blocks_per_level=1,
        dropout=0.1,
        key=key,
    )
    return ss.Denoiser(network, process)


def make_mesh(name):
    if name == "1":
        return None
    data, fsdp = map(int, name.split("x"))
    return ss.train.make_mesh(data * fsdp, fsdp=fsdp)


def loader():
    return iter(
        ss.data.make_loader(
            source,
            16,
            seed=1,
            transforms=[ss.data.RandomFlip()],
            dtype="uint8" if source.images.dtype == np.uint8 else "float32",
        )
    )


def init(mesh):
    key = jax.random.key(0)
    return ss.train.init_state(make_model, optimiser, key=key, mesh=mesh)


def make_step(mesh):
    return ss.train.make_train_step(loss_fn, optimiser, mesh=mesh)


def go_on(step, state, data, number):
    losses = []
    for _ in range(number):
        state, metrics = step(state, next(data))
        losses.append(float(metrics["loss"]))
    return state, np.array(losses)


def flat(tree):
    leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    return np.concatenate([np.ravel(np.asarray(x)) for x in leaves])


def apart(a, b):
    return float(np.max(np.abs(a - b)))


def samples(state, mesh):
    drawn = ss.sample(
        state.ema,
        prior=prior,
        num_samples=16,
        num_steps=4,
        mesh=mesh,
        key=jax.random.key(5),
    )
    return np.asarray(drawn.x)


def measure(name, folder, truth):
    mesh = make_mesh(name)
    step, state, data = make_step(mesh), init(mesh), loader()
    if mesh is not None:
        batch = ss.train.shard_batch(next(loader()), mesh)
    else:
        batch = next(loader())
    compiled = step.lower(state, batch).compile()
    text = compiled.as_text()
    kinds = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all")
    row = {
        "memory": compiled.memory_analysis().alias_size_in_bytes,
        "collectives": {
            k: len(re.findall(rf"= .*\b{k}(-start)?\(", text)) for k in kinds
        },
    }
    state, losses = go_on(step, state, data, STEPS // 2)
    if truth is None:
        with ss.train.Checkpointer(folder) as checkpoints:
            checkpoints.save(state, data, STEPS // 2)
    state, later = go_on(step, state, data, STEPS // 2)
    losses = np.concatenate([losses, later])
    model, ema = flat(state.model), flat(state.ema)
    if truth is None:
        return row, (losses, model, ema, state)
    row["loss"] = float(np.max(np.abs(losses / truth[0] - 1)))
    row["parameters"], row["averages"] = apart(model, truth[1]), apart(ema, truth[2])
    # The same averages on every mesh: their rounding is no business of sampling.
    same = ss.train.shard_state(ss.train.gather(truth[3]), mesh)
    row["samples"] = apart(samples(same, mesh), samples(truth[3], None))
    data = loader()
    with ss.train.Checkpointer(folder, read_only=True) as checkpoints:
        state, n = checkpoints.restore(init(mesh), data)
    state, _ = go_on(step, state, data, STEPS - n)
    row["resumed"] = apart(flat(state.model), truth[1])
    return row, None


with tempfile.TemporaryDirectory() as folder:
    rows, truth = {}, None
    for name in ("1", "8x1", "1x8", "4x2", "2x4"):
        rows[name], found = measure(name, folder, truth)
        truth = truth or found
print(json.dumps(rows))
