"""Loggers used by hand, without a follower, as tests of Ray scripts do."""

import csv
import errno
import json
import math
import os

import pytest

from perdure.loggers.csv import CSVLoggerCallback
from perdure.loggers.files import AppendFile, OpenFiles
from perdure.loggers.json import JsonLoggerCallback, to_json
from perdure.loggers.tensorboard import TBXLoggerCallback
from perdure.trial_view import TrialView


@pytest.fixture
def trial(tmp_path):
    return TrialView(trial_id="t", trial_name="train_t", directory=str(tmp_path / "t"), config={"lr": 0.1})


def test_json_by_hand(trial, tmp_path):
    logger = JsonLoggerCallback()
    logger.log_trial_start(trial)
    logger.log_trial_result(0, trial, {"a": float("nan"), 3: (1, 2), "b": b"x", "config": {"f": print}})
    logger.log_trial_end(trial)
    row = json.loads((tmp_path / "t" / "result.json").read_text())
    assert math.isnan(row["a"])
    assert row["3"] == [1, 2]
    assert "print" in row["config"]["f"]
    assert json.loads((tmp_path / "t" / "params.json").read_text()) == {"lr": 0.1}


def test_keys_that_json_cannot_have_are_shown():
    assert json.loads(to_json({(1, 2): {"x": 1}})) == {"(1, 2)": {"x": 1}}


def test_csv_goes_on_with_a_file_that_is_there(trial, tmp_path):
    for rows in ([{"a": 1, "b": "x,y"}, {"a": 2}], [{"a": 3, "c": None}, {"c": 4}]):
        logger = CSVLoggerCallback()
        for row in rows:
            logger.log_trial_result(0, trial, row)
        logger.log_trial_end(trial)
    with open(tmp_path / "t" / "progress.csv", newline="") as file:
        table = list(csv.reader(file))
    assert table == [["a", "b", "c"], ["1", "x,y", ""], ["2", "", ""], ["3", "", ""], ["", "", "4"]]


def test_close_writes_what_waits_for_a_wider_header(trial, tmp_path, monkeypatch):
    monkeypatch.setattr("perdure.loggers.csv.WIDEN_SHARE", 1e9)
    logger = CSVLoggerCallback()
    for name in "abc":
        logger.log_trial_result(0, trial, {name: 1})
        logger.flush()
    with open(tmp_path / "t" / "progress.csv", newline="") as file:
        assert next(csv.reader(file)) == ["a", "b"]  # "c" came too soon after "b"
    logger.close()
    with open(tmp_path / "t" / "progress.csv", newline="") as file:
        assert list(csv.reader(file)) == [["a", "b", "c"], ["1", "", ""], ["", "1", ""], ["", "", "1"]]


def test_what_could_not_be_written_is_written_later(tmp_path):
    (tmp_path / "d").write_text("a file where the directory should be")
    files = OpenFiles()
    file = AppendFile(str(tmp_path / "d" / "f"), files)
    file.write(b"hello")
    with pytest.raises(OSError):
        file.flush()
    (tmp_path / "d").unlink()
    file.write(b" world")
    file.flush()
    files.close_all()
    assert (tmp_path / "d" / "f").read_bytes() == b"hello world"


def full_disk(monkeypatch, room):
    """Let `room` bytes be written before the disk is full; return what makes room again."""
    left = [room]
    real = os.write

    def write(descriptor, data):
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = real(descriptor, memoryview(data)[: left[0]])
        left[0] -= count
        return count

    monkeypatch.setattr(os, "write", write)
    return lambda: monkeypatch.setattr(os, "write", real)


@pytest.mark.parametrize("act", [AppendFile.flush, AppendFile.close])
def test_half_of_a_line_that_a_full_disk_took_is_not_written_twice(tmp_path, monkeypatch, act):
    files = OpenFiles()
    file = AppendFile(str(tmp_path / "f"), files)
    file.write(b"one line\n")
    make_room = full_disk(monkeypatch, 4)
    with pytest.raises(OSError):
        act(file)
    make_room()
    file.write(b"another\n")
    file.close()
    assert (tmp_path / "f").read_bytes() == b"one line\nanother\n"


def test_rows_that_a_full_disk_refused_are_written_when_there_is_room(trial, tmp_path, monkeypatch):
    logger = CSVLoggerCallback()
    logger.log_trial_result(0, trial, {"a": 1})
    logger.flush()
    logger.log_trial_result(0, trial, {"a": 2})
    make_room = full_disk(monkeypatch, 0)
    with pytest.raises(OSError):
        logger.flush()
    make_room()
    logger.flush()
    assert (tmp_path / "t" / "progress.csv").read_text() == "a\n1\n2\n"
    logger.close()


@pytest.mark.parametrize("kind", [JsonLoggerCallback, CSVLoggerCallback, TBXLoggerCallback])
def test_files_are_closed_also_where_one_cannot_be_written(trial, monkeypatch, kind):
    logger = kind()
    logger.log_trial_result(0, trial, {"a": 1, "config": {}})
    logger.flush()
    assert len(logger._files) == 1
    logger.log_trial_result(0, trial, {"a": 2, "config": {}})
    make_room = full_disk(monkeypatch, 0)
    with pytest.raises(OSError):
        logger.close()
    make_room()
    assert len(logger._files) == 0


def test_text_that_no_file_can_hold_holds_up_nobody(trial, tmp_path):
    logger = CSVLoggerCallback()
    logger.log_trial_result(0, trial, {"name": "\ud800", "\udfff": 1})
    logger.flush()
    assert (tmp_path / "t" / "progress.csv").read_text() == "name,\\udfff\n\\ud800,1\n"
    logger.close()


def test_the_files_used_last_stay_open(tmp_path):
    files = OpenFiles(limit=2)
    for name in "abcab":
        files.append(str(tmp_path / name), name.encode())
        assert len(files) <= 2
    files.close_all()
    assert (tmp_path / "a").read_text() == "aa"


def test_parameters_are_written_in_order_and_whatever_they_are(tmp_path):
    config = {"z": math.nan, "a": {"y": 1, "x": [1, 2]}}
    trial = TrialView(trial_id="t", trial_name="train_t", directory=str(tmp_path / "t"), config=config)
    logger = JsonLoggerCallback()
    logger.log_trial_start(trial)
    written = (tmp_path / "t" / "params.json").read_text()
    assert written == '{\n  "a": {\n    "x": [\n      1,\n      2\n    ],\n    "y": 1\n  },\n  "z": NaN\n}'
    trial.config["z"] = 1.5
    JsonLoggerCallback().log_trial_start(trial)
    assert (tmp_path / "t" / "params.json").read_text() == written.replace("NaN", "1.5")
