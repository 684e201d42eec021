"""Moments of features that several processes have computed."""

import multiprocessing
import socket

import numpy as np
import pytest

from softsde.metrics import FeatureMoments, FeatureStatistics, PixelFeatures


def images():
    return np.random.default_rng(0).random((301, 4, 3, 1), dtype=np.float32)


def statistics(start, stop):
    return FeatureStatistics.of(
        PixelFeatures(), images()[start:stop], keep=50, start=start
    )


def be_host(host, port, path):
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=host)
    start, stop = ((0, 200), (200, 301))[host]
    whole = statistics(start, stop).across_processes()
    whole.save(f"{path}-{host}.npz")
    rows = images()[start:stop].reshape(stop - start, -1).astype(float)
    moments = FeatureMoments.of(rows).across_processes()
    np.savez(f"{path}-moments-{host}.npz", mean=moments.mean, scatter=moments.scatter)


@pytest.mark.slow
def test_two_processes_find_what_one_finds(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    hosts = [
        context.Process(target=be_host, args=(host, port, str(tmp_path / "s")))
        for host in range(2)
    ]
    for host in hosts:
        host.start()
    for host in hosts:
        host.join(200)
    assert [host.exitcode for host in hosts] == [0, 0]
    alone = statistics(0, 301)
    rows = images().reshape(301, -1).astype(float)
    for host in range(2):
        both = FeatureStatistics.load(tmp_path / f"s-{host}.npz")
        assert (both.count, both.key) == (301, alone.key)
        np.testing.assert_allclose(both.moments.mean, alone.moments.mean, rtol=1e-10)
        np.testing.assert_allclose(
            both.moments.scatter, alone.moments.scatter, rtol=1e-10
        )
        np.testing.assert_array_equal(both.kept, alone.kept)
        with np.load(tmp_path / f"s-moments-{host}.npz") as file:
            np.testing.assert_allclose(file["mean"], rows.mean(axis=0), rtol=1e-10)
            scatter = np.cov(rows.T) * 300
            np.testing.assert_allclose(file["scatter"], scatter, rtol=1e-10)


def test_alone_nothing_changes():
    moments = FeatureMoments.of(np.eye(3))
    assert moments.across_processes() is moments
    found = statistics(0, 40)
    assert found.across_processes() is found
