"""`perdure verify` and `perdure repair`: every damage is named, nothing else is."""

import shutil

import pytest

from perdure.checkpoint import Checkpoint
from perdure.control.door import Door
from perdure.core.requests import Pin
from perdure.trainable.failure import store_exception


def damage(path, offset=None):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if offset is None else offset] ^= 1
    path.write_bytes(content)


def test_a_whole_experiment(perdure, finished):
    ran = perdure("verify", finished)
    assert ran.code == 0
    assert ran.lines[0] == str(finished)
    assert ran.lines[1].startswith("journal: ")
    assert ran.lines[2:] == ["pickles: 1 whole", "checkpoints: 5 whole, 5.0 KB, digests compared", "ok"]


def test_trial_by_trial(perdure, finished):
    ran = perdure("verify", "-v", finished)
    assert ran.lines[4:7] == [
        "  train_ab12c_00000: 3 checkpoints whole",
        "  train_ab12c_00001: 2 checkpoints whole",
        "  train_ab12c_00002: 0 checkpoints whole",
    ]


def test_json_of_a_whole_experiment(perdure, finished):
    document = perdure("verify", finished, "--json").json
    records = document.pop("records")
    assert records == len((finished / "journal-000001.jsonl").read_bytes().splitlines()) - 1  # the first is the header
    assert document == {
        "path": str(finished),
        "ok": True,
        "pickles": 1,
        "checkpoints": 5,
        "nbytes": 5000,
        "digests_compared": True,
        "problems": [],
    }


def test_a_flipped_bit_in_a_checkpoint(perdure, finished):
    damage(finished / "train_ab12c_00000" / "checkpoint_000001" / "model.bin")
    ran = perdure("verify", finished, "--json")
    assert ran.code == 1
    (problem,) = ran.json["problems"]
    assert problem["part"] == "checkpoint"
    assert problem["file"] == "train_ab12c_00000/checkpoint_000001"
    assert problem["trial"] == "train_ab12c_00000"
    assert "model.bin" in problem["what"]
    assert ran.json["checkpoints"] == 4


def test_damaged_metadata_of_a_checkpoint(perdure, finished):
    folder = finished / "train_ab12c_00000" / "checkpoint_000001"
    Checkpoint(folder).set_metadata({"epoch": 3})
    assert perdure("verify", finished).code == 0
    (folder / ".perdure-metadata.json").write_text((folder / ".perdure-metadata.json").read_text().replace("3", "7", 1))
    ran = perdure("verify", finished, "--json")
    assert ran.code == 1
    (problem,) = ran.json["problems"]
    assert problem["file"] == "train_ab12c_00000/checkpoint_000001"
    assert problem["what"].startswith(".perdure-metadata.json is damaged")


def test_what_costs_nothing_is_a_note(perdure, finished):
    trial = finished / "train_ab12c_00000"
    store_exception(KeyError("mine"), str(trial))
    name = Door(finished).post(Pin(trial="ab12c_00000"))
    assert perdure("verify", finished).lines[2:] == [
        "pickles: 2 whole",
        "checkpoints: 5 whole, 5.0 KB, digests compared",
        "ok",
    ]
    damage(trial / "error.pkl")
    damage(finished / "control" / f"{name}.json")
    ran = perdure("verify", finished)
    assert ran.code == 0
    assert [line.rpartition(";")[0] for line in ran.lines if line.startswith("note: ")] == [
        "note: pickle train_ab12c_00000/error.pkl: train_ab12c_00000: it is damaged",
        f"note: request control/{name}.json: it is damaged, or no request that this version of perdure understands",
    ]


def test_quick_looks_at_sizes_only(perdure, finished):
    weights = finished / "train_ab12c_00000" / "checkpoint_000001" / "model.bin"
    damage(weights)
    assert perdure("verify", finished, "--quick").code == 0
    weights.write_bytes(b"short")
    ran = perdure("verify", finished, "--quick")
    assert ran.code == 1
    assert "model.bin has 5 bytes, 1000 were committed" in ran.out


def test_every_problem_is_listed(perdure, finished):
    damage(finished / "train_ab12c_00000" / "checkpoint_000000" / "model.bin")
    (finished / "train_ab12c_00000" / "checkpoint_000001" / "model.bin").unlink()
    shutil.rmtree(finished / "train_ab12c_00001" / "checkpoint_000000")
    damage(finished / "trainable.pkl")
    ran = perdure("verify", finished)
    assert ran.code == 1
    problems = [line for line in ran.lines if line.startswith("problem: ")]
    assert [line.split(":")[1] for line in problems] == [
        " pickle trainable.pkl",
        " checkpoint train_ab12c_00000/checkpoint_000000",
        " checkpoint train_ab12c_00000/checkpoint_000001",
        " checkpoint train_ab12c_00001/checkpoint_000000",
    ]
    assert ran.lines[-1] == "4 problems found"
    assert [line for line in ran.lines[1:] if str(finished) in line] == [], "the first line names it for all"
    assert "train_ab12c_00000: it is damaged: the digest of model.bin" in problems[1]
    assert "train_ab12c_00000: it is not whole: model.bin is gone." in problems[2]
    assert "train_ab12c_00001: There is no checkpoint: the directory does not exist" in problems[3]


def test_a_missing_pickle(perdure, finished):
    (finished / "trainable.pkl").unlink()
    ran = perdure("verify", finished)
    assert ran.code == 1
    assert "problem: pickle trainable.pkl: it is gone" in ran.lines


def test_a_damaged_journal_names_line_and_byte(perdure, finished):
    journal = finished / "journal-000001.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    offset = sum(map(len, lines[:5]))
    damage(journal, offset + 10)
    ran = perdure("verify", finished)
    assert ran.code == 1
    assert any(line.startswith(f"problem: journal journal-000001.jsonl, line 6, byte {offset}:") for line in ran.lines)
    assert f"See what a repair would give up: perdure repair {finished}" in ran.lines
    (problem,) = perdure("verify", finished, "--json").json["problems"]
    assert (problem["file"], problem["line"], problem["offset"]) == ("journal-000001.jsonl", 6, offset)
    assert problem["serious"]


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [*lines[:5], b"\xff between\n", *lines[5:]],
        lambda lines: [*lines[:5], lines[4], *lines[5:]],
        lambda lines: [*lines[:5], lines[6], lines[5], *lines[7:]],
    ],
    ids=["one got in between", "one is there twice", "two changed places"],
)
def test_one_damage_of_the_journal_is_told_once(perdure, finished, change):
    journal = finished / "journal-000001.jsonl"
    journal.write_bytes(b"".join(change(journal.read_bytes().splitlines(keepends=True))))
    (problem,) = perdure("verify", finished, "--json").json["problems"]
    assert (problem["file"], problem["line"], problem["serious"]) == ("journal-000001.jsonl", 6, True)


def test_a_torn_last_line_is_what_a_crash_leaves(perdure, interrupted):
    journal = interrupted / "journal-000001.jsonl"
    with journal.open("ab") as file:
        file.write(b'{"e":1,"q":99,"v":1,"d":{"ty')
    ran = perdure("verify", interrupted)
    assert ran.code == 0
    assert any(line.startswith("note: journal journal-000001.jsonl") for line in ran.lines)
    assert ran.lines[-1] == "ok"


def test_a_copied_experiment_is_as_good(perdure, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "copy")
    assert perdure("verify", tmp_path / "copy").code == 0


def test_a_checkpoint_retired_while_verifying_is_no_problem(new_experiment, monkeypatch):
    from pathlib import Path

    from perdure.checkpoints import manifest
    from perdure.cli.verify import examine
    from perdure.core.events import CheckpointsRetired, Source

    experiment = new_experiment()
    experiment.start(0)
    for iteration in (1, 2):
        experiment.report(0, iteration, save=True, accuracy=0.5)
    check = manifest.verify_checkpoint

    def retire_first(folder, **kwargs):
        if Path(folder).name == "checkpoint_000000":
            experiment.tell(CheckpointsRetired(at=0, items=(Source(trial="ab12c_00000", number=0),)))
            shutil.rmtree(folder)
        check(folder, **kwargs)

    monkeypatch.setattr(manifest, "verify_checkpoint", retire_first)
    findings = examine(experiment.path)
    assert findings.ok
    assert findings.checkpoints == 1


def test_nothing_is_unpickled(perdure, finished, monkeypatch):
    """The trainable of these experiments is no pickle at all, and reading it as one would fail."""
    import pickle

    def refuse(*args, **kwargs):
        raise AssertionError("something was unpickled")

    monkeypatch.setattr(pickle, "load", refuse)
    monkeypatch.setattr(pickle, "loads", refuse)
    for command in ("ls", "show", "verify", "repair"):
        assert perdure(command, finished).code == 0


def test_repair_says_what_it_would_give_up_and_changes_nothing(perdure, finished):
    damage(finished / "journal-000001.jsonl")
    before = {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()}
    ran = perdure("repair", finished)
    assert ran.code == 1
    assert ran.lines[-1].endswith(f"perdure repair --cut {finished}")
    assert {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()} == before


def test_repair_cuts_when_told_and_the_experiment_opens_again(perdure, finished):
    damage(finished / "journal-000001.jsonl")
    assert perdure("show", finished).code == 1
    ran = perdure("repair", "--cut", finished, "--json")
    assert (ran.code, ran.json["cut"], len(ran.json["damages"])) == (0, True, 1)
    assert perdure("show", finished).code == 0
    assert perdure("verify", finished).code == 0


def test_repair_of_a_whole_journal_does_nothing(perdure, finished):
    ran = perdure("repair", "--cut", finished)
    assert (ran.code, ran.lines) == (0, ["The journal can be opened as it is; nothing was changed."])


def test_repair_is_refused_while_a_driver_lives(perdure, new_experiment):
    experiment = new_experiment()
    ran = perdure("repair", "--cut", experiment.path)
    assert (ran.code, ran.out) == (1, "")
    assert "has another driver" in ran.err


@pytest.mark.parametrize("command", ["verify", "repair", "show"])
def test_no_experiment(perdure, tmp_path, command):
    ran = perdure(command, tmp_path / "nowhere")
    assert (ran.code, ran.out) == (2, "")
    assert str(tmp_path / "nowhere") in ran.err
