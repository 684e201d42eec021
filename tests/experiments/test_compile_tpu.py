"""Compiling for chips that are not there: what needs no compiler for them."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from tiny_run import tiny

import softsde as ss
from experiments import _ahead, compile_tpu
from experiments._config import ConditionConfig
from experiments._errors import CommandError
from experiments._presets import PRESETS
from experiments._spec import Spec


def cost(**changes) -> ss.train.ProgramCost:
    """A millisecond of v5e's peak, and two of its memory's bandwidth."""
    plain = ss.train.ProgramCost(
        flops=197e9,
        bytes_accessed=2 * 819e6,
        seconds=None,
        state_bytes=2**30,
        peak_bytes=2**33,
        collectives={},
    )
    return dataclasses.replace(plain, **changes)


def test_a_step_is_as_slow_as_its_slower_bound():
    found = compile_tpu.judge(cost(), _ahead.CHIPS["v5e"], 3_600_000)
    np.testing.assert_allclose(found["seconds_by_flops"], 1e-3)
    np.testing.assert_allclose(found["seconds_by_bytes"], 2e-3)
    np.testing.assert_allclose(found["estimated_seconds"], 2e-3)
    np.testing.assert_allclose(found["utilisation"], 0.5)
    np.testing.assert_allclose(found["hours"], 2.0)
    assert found["fits"]


def test_the_estimate_of_the_compiler_comes_first():
    chip = _ahead.CHIPS["v5e"]
    found = compile_tpu.judge(cost(seconds=4e-3, peak_bytes=2**35), chip, 1)
    np.testing.assert_allclose(found["utilisation"], 0.25)
    assert not found["fits"]


@pytest.mark.parametrize("name", ["cifar10_blur", "fashion_mnist_blur", "celeba_blur"])
def test_papers_need_no_data(name, monkeypatch):
    """Level schedules from data are replaced; the last level stays."""
    monkeypatch.setattr(ss.data, "load", lambda *_, **__: pytest.fail("reads data"))
    config = PRESETS[name].config
    process = _ahead.make_parts(config).process()
    last = config.process.options["max_blur"]
    np.testing.assert_allclose(process.level(process.t1), last, rtol=1e-6)


def test_another_process_takes_the_place_of_the_experiment_s(monkeypatch):
    seen = []
    monkeypatch.setattr(_ahead, "topology_mesh", lambda *_: ss.train.make_mesh())

    def compile_training(config, *_):
        seen.append(config)
        return cost()

    monkeypatch.setattr(_ahead, "compile_training", compile_training)
    words = "ve(sigma_min=0.01, sigma_max=0.1)"
    command = compile_tpu.CompileTpu(config="paper_cifar10", process=words)
    row = compile_tpu.measure(command, "v5e:2x4")
    assert row["process"] == words
    paper = PRESETS["paper_cifar10"].config
    assert seen == [dataclasses.replace(paper, process=seen[0].process)]
    process = _ahead.make_parts(seen[0]).process()
    np.testing.assert_allclose(process.sigma(process.t1), 0.1, rtol=1e-6)
    with pytest.raises(CommandError, match="--process"):
        wrong = dataclasses.replace(command, process="ve(")
        compile_tpu.measure(wrong, "v5e:2x4")


@pytest.mark.slow
def test_the_step_that_is_compiled_is_the_one_that_trains():
    """On one device, with labels: as many flops as the step of the run itself."""
    config = tiny(condition=ConditionConfig(labels=True))
    mesh = ss.train.make_mesh(1)
    parts = _ahead.make_parts(config)
    process = parts.process()
    loss_fn, _ = parts.loss(process)
    step = ss.train.make_train_step(
        loss_fn, parts.optimiser(), ema_decay=config.optimiser.ema_decay
    )
    denoiser = parts.denoiser(parts.network(), process)
    state = ss.train.TrainState.create(
        denoiser, parts.optimiser(), key=parts.maker.given["key"]()
    )
    batch = {
        "image": jnp.zeros((16, 8, 8, 1), jnp.uint8),
        "label": jnp.zeros((16,), jnp.int32),
    }
    real = ss.train.program_cost(step.lower(state, batch).compile())
    found = _ahead.compile_training(config, mesh, 16, 1)
    np.testing.assert_allclose(found.flops, real.flops, rtol=0.01)


@pytest.mark.slow
def test_a_step_is_its_network_s_and_little_more():
    """By flops, without a corruption; a network alone costs as much as its images."""
    config = tiny(process=Spec("ve"), condition=ConditionConfig(labels=True))
    mesh = ss.train.make_mesh(1)
    alone, twice = (
        _ahead.compile_network(config, mesh, number).flops for number in (64, 128)
    )
    step = _ahead.compile_training(config, mesh, 64).flops
    np.testing.assert_allclose(twice, 2 * alone, rtol=0.02)
    assert alone < step < 1.1 * alone


@pytest.mark.parametrize("name", ["v5e", "v9:2x2", "v5e:2y4", "v5e:"])
def test_no_topology(name):
    with pytest.raises(CommandError, match="is no topology"):
        _ahead.topology_mesh(name, 1)
