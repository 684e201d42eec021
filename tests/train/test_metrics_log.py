"""The metrics file after every way in which a process can leave it."""

import json

import pytest

from softsde import train

LINES = [f'{{"step": {n}, "loss": {n / 3}}}\n' for n in (5, 10, 15, 20)]


@pytest.mark.parametrize(
    "content, step, kept",
    [
        ("".join(LINES), 20, LINES),
        ("".join(LINES), 12, LINES[:2]),
        ("".join(LINES), 0, []),
        ("".join(LINES)[:-1], 20, LINES),
        ("".join(LINES)[:-9], 20, LINES[:3]),
        ("".join(LINES[:2]) + '{"st', 10, LINES[:2]),
        ("".join(LINES[:2]) + "\0\0\0\0", 10, LINES[:2]),
        ("", 0, []),
        (None, 0, []),
    ],
)
def test_file_is_cut_back_to_the_step(tmp_path, content, step, kept):
    path = tmp_path / "run" / "metrics.jsonl"
    if content is not None:
        path.parent.mkdir()
        path.write_text(content)
    with train.MetricsLog(path, step=step) as log:
        log.write(25, {"loss": 0.1})
    assert path.read_text() == "".join(kept) + '{"step": 25, "loss": 0.1}\n'
    assert [p.name for p in path.parent.iterdir()] == ["metrics.jsonl"]


def test_lines_are_read_back_exactly(tmp_path):
    path, value = tmp_path / "metrics.jsonl", 0.1 + 0.2
    with train.MetricsLog(path) as log:
        log.write(1, {"loss": value, "other": float("nan")})
        # It can be read while the run goes on.
        assert train.read_metrics(path) == [{"step": 1, "loss": value, "other": None}]
        log.sync()
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"not JSON: {name}"))
