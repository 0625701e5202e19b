"""The files that tell which configurations a population went through."""

import json

import pytest

from perdure.core.events import (
    Action,
    CheckpointCommitted,
    CheckpointInfo,
    Decision,
    Reported,
    Source,
    TrialActed,
    TrialCreated,
)
from perdure.errors import ConfigurationError
from perdure.journal.file import FileJournal
from perdure.journal.values import encode_config
from perdure.loggers.policies import PolicyLog, differences
from perdure.schedulers.pbt_replay import PopulationBasedTrainingReplay


def info(number, iteration):
    return CheckpointInfo(number=number, directory=f"checkpoint_{number:06d}", attempt=1, iteration=iteration)


def created(trial, **config):
    data, _ = encode_config(config)
    return TrialCreated(at=0.0, trial=trial, number=0, name=trial, directory=trial, config=data, tag=f"tag_{trial}")


def clone(trial, donor, number, **config):
    data, _ = encode_config(config)
    source = Source(trial=donor, number=number)
    return Action(trial=trial, decision=Decision.PAUSE, donor=source, config=data, resume=True)


def row(trial, iteration, *, saved=None, actions=()):
    return Reported(
        at=0.0, trial=trial, attempt=1, iteration=iteration, metrics={}, checkpoint=saved, actions=tuple(actions)
    )


STORY = [
    created("a", lr=1.0, kind=dict),
    created("b", lr=2.0, kind=dict),
    created("c", lr=3.0, kind=dict),
    row("b", 3, saved=info(0, 3)),
    row("a", 4, actions=[clone("a", "b", 0, lr=2.4, kind=dict)]),
    row("a", 5, saved=info(0, 5)),
    row("c", 6, actions=[clone("c", "a", 0, lr=1.9, kind=dict)]),
    CheckpointCommitted(at=0.0, trial="b", checkpoint=info(1, 7)),
    TrialActed(at=0.0, action=clone("a", "b", 1, lr=1.6, kind=dict), more=(clone("c", "b", 1, lr=1.7, kind=dict),)),
]
KIND = "<class 'dict'>"
LINES = {
    "a1": ["tag_a", "tag_b", 4, 3, {"lr": 2.0, "kind": KIND}, {"lr": 2.4, "kind": KIND}],
    "c1": ["tag_c", "tag_a", 6, 5, {"lr": 2.4, "kind": KIND}, {"lr": 1.9, "kind": KIND}],
    "a2": ["tag_a", "tag_b", 5, 7, {"lr": 2.0, "kind": KIND}, {"lr": 1.6, "kind": KIND}],
    "c2": ["tag_c", "tag_b", 6, 7, {"lr": 2.0, "kind": KIND}, {"lr": 1.7, "kind": KIND}],
}


def written(directory):
    return {
        path.name: [json.loads(line) for line in path.read_text().splitlines()]
        for path in sorted(directory.glob("pbt_*.txt"))
    }


EXPECTED = {
    "pbt_global.txt": [LINES["a1"], LINES["c1"], LINES["a2"], LINES["c2"]],
    "pbt_policy_a.txt": [LINES["a1"], LINES["a2"]],
    "pbt_policy_c.txt": [LINES["a1"], LINES["c1"], LINES["c2"]],
}


def test_each_exploit_is_a_line_and_a_clone_takes_over_its_donors_lines(tmp_path):
    log = PolicyLog(tmp_path)
    for event in STORY:
        log.observe([event])
    assert written(tmp_path) == EXPECTED


def test_an_experiment_without_exploits_has_no_files(tmp_path):
    PolicyLog(tmp_path, STORY[:4]).observe([row("a", 2)])
    assert written(tmp_path) == {}


@pytest.mark.parametrize("known", range(len(STORY) + 1))
def test_a_session_writes_what_earlier_ones_left_undone_or_did_twice(tmp_path, known):
    (tmp_path / "pbt_global.txt").write_text("a line of an exploit that was never journaled\n" * 3)
    log = PolicyLog(tmp_path, STORY[:known])
    for event in STORY[known:]:
        log.observe([event])
    assert written(tmp_path) == EXPECTED


def test_a_disk_that_refuses_ends_nothing(tmp_path):
    log = PolicyLog(tmp_path / "gone")
    log.observe(STORY)
    (tmp_path / "gone").mkdir()
    log = PolicyLog(tmp_path / "gone", STORY)
    assert written(tmp_path / "gone") == EXPECTED


def write_with_journal(directory):
    journal = FileJournal(directory)
    journal.append(STORY)
    journal.close()
    PolicyLog(directory, STORY)


def test_a_file_is_compared_with_the_journal_beside_it(tmp_path):
    write_with_journal(tmp_path)
    for name in EXPECTED:
        path = tmp_path / name
        whole = path.read_bytes()
        assert differences([path]) == {}
        for at in range(0, len(whole), 7):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            assert differences([path]) == {path: f"line {whole[:at].count(10) + 1} is not what the journal says"}
            path.write_bytes(whole[:at])
            assert differences([path]) == {path: f"line {whole[:at].count(10) + 1} is not what the journal says"}
        path.write_bytes(whole + whole)
        assert differences([path])[path].startswith(f"line {whole.count(10) + 1} ")
        path.write_bytes(whole)


def test_a_damaged_schedule_is_not_replayed(tmp_path):
    write_with_journal(tmp_path)
    path = tmp_path / "pbt_policy_a.txt"
    assert PopulationBasedTrainingReplay(path).prepare_config(0, {})["lr"] == 2.0
    path.write_text(path.read_text().replace("1.6", "1.7"))
    with pytest.raises(ConfigurationError, match=r"pbt_policy_a\.txt is damaged.*line 2 is not what the journal says"):
        PopulationBasedTrainingReplay(path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path.rename(elsewhere / path.name)
    assert PopulationBasedTrainingReplay(elsewhere / path.name)
