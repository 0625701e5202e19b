"""What trials print begins with their names where the output is no terminal."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from perdure import tune
from perdure.trainable.labels import LabelledStream, labelled


def prints(config: dict[str, Any]) -> None:
    print("epoch", config["x"])
    print("careful", file=sys.stderr)
    sys.stdout.write("no end")
    tune.report({"loss": config["x"]})


def run(tmp_path, **options):
    run_config = tune.RunConfig(name="kd", storage_path=str(tmp_path), **options)
    results = tune.Tuner(prints, param_space={"x": tune.grid_search([1, 2])}, run_config=run_config).fit()
    return [result.path.rsplit("/", 1)[-1] for result in results]


def test_each_line_has_its_trial(tmp_path, capfd):
    names = run(tmp_path, verbose=1)
    assert len(names) == 2
    out, err = capfd.readouterr()
    for x, name in zip((1, 2), ("00000", "00001"), strict=True):
        assert any(line.endswith(f"_{name}) epoch {x}") for line in out.splitlines())
        assert any(line.endswith(f"_{name}) careful") for line in err.splitlines())
    assert "\nepoch" not in out
    assert out.count("no end") == 2


@pytest.mark.parametrize("options", [{"verbose": 0}, {"verbose": 1, "executor": "inline"}])
def test_nothing_is_added_in_silence_or_in_the_very_process(tmp_path, capfd, options):
    run(tmp_path, **options)
    out = capfd.readouterr().out
    assert "epoch 1\n" in out
    assert "(prints_" not in out


@pytest.mark.parametrize(
    ("pieces", "written"),
    [
        (["a", " ", "b", "\n"], "(t) a b\n"),
        (["a\nb\n", "c"], "(t) a\n(t) b\n(t) c"),
        (["\n", "", "\n"], "(t) \n(t) \n"),
        (["1%\r", "2%\r", "done\n"], "(t) 1%\r2%\rdone\n"),
    ],
)
def test_a_label_stands_at_the_beginning_of_each_line_only(pieces, written):
    stream = io.StringIO()
    mine = LabelledStream(stream, "(t) ")
    assert [mine.write(piece) for piece in pieces] == [len(piece) for piece in pieces]
    assert stream.getvalue() == written


def test_all_else_is_the_streams_own(tmp_path):
    with (tmp_path / "out").open("w", encoding="latin-1") as file:
        mine = LabelledStream(file, "")
        assert (mine.encoding, mine.errors, mine.fileno(), mine.isatty()) == ("latin-1", "strict", file.fileno(), False)
        assert mine.buffer is file.buffer
        mine.reconfigure(line_buffering=True)
        mine.close()
        del mine
        file.write("still open")


def test_streams_are_put_back():
    before = sys.stdout, sys.stderr
    with labelled("t"):
        assert sys.stdout is not before[0]
    assert (sys.stdout, sys.stderr) == before
