"""A trial without a driver: a channel that remembers what it was told and answers from a script."""

from __future__ import annotations

import pytest

from perdure.core.events import Decision
from perdure.trainable.channel import DriverGone
from perdure.trainable.messages import Assignment, Ended, Notice, Report, RestorePoint, Saved, Started, Verdict
from perdure.trainable.worker import run_attempt

CONTINUE, PAUSE, STOP = Decision.CONTINUE, Decision.PAUSE, Decision.STOP


class ScriptedChannel:
    """Answers reports from a list of verdicts, then CONTINUE; `None` in it is a driver that is gone."""

    def __init__(self, *script):
        self.script = list(script)
        self.said = []
        self.stopping = False

    def send(self, message):
        self.said.append(message)

    def ask(self, message, meanwhile=None):
        self.said.append(message)
        if meanwhile is not None:
            meanwhile()
        answer = self.script.pop(0) if self.script else Verdict()
        if answer is None:
            raise DriverGone
        if callable(answer):  # something that happens while the worker waits
            answer = answer()
        if answer == "stopping":
            self.stopping = True
            answer = Verdict()
        return answer if isinstance(answer, Verdict) else Verdict(decision=answer)

    def of(self, kind):
        return [message for message in self.said if isinstance(message, kind)]

    @property
    def rows(self):
        return [message.metrics for message in self.of(Report)]

    @property
    def saved(self):
        """(iteration, number) of each checkpoint, in the order they were told of."""
        infos = [message.checkpoint for message in self.said if isinstance(message, (Report, Saved))]
        return [(info.iteration, info.number) for info in infos if info]

    @property
    def notices(self):
        return [message.text for message in self.of(Notice)]

    @property
    def ended(self):
        assert isinstance(self.said[0], Started)
        assert isinstance(self.said[-1], Ended)
        return self.said[-1]


class Trial:
    """A trial's directory, in which attempts are run one after another."""

    def __init__(self, path):
        self.path = path
        self.attempts = 0

    def assignment(self, **fields):
        fields.setdefault("config", {})
        fields.setdefault("attempt", self.attempts)
        fields.setdefault("next_checkpoint", len(self.checkpoints()))
        self.attempts += 1
        return Assignment(
            trial="t0",
            name="train_t0",
            experiment="exp",
            experiment_path=str(self.path.parent),
            path=str(self.path),
            boot_id="boot",
            **fields,
        )

    def run(self, trainable, *script, kept=None, **fields):
        channel = ScriptedChannel(*script)
        channel.outcome = run_attempt(self.assignment(**fields), channel, trainable, kept=kept)
        assert channel.ended.outcome is channel.outcome
        return channel

    def checkpoints(self):
        if not self.path.exists():
            return []
        return sorted(path for path in self.path.iterdir() if path.name.startswith("checkpoint_"))

    def latest(self, **fields):
        """The restore point of the newest checkpoint, with the fields that go with it."""
        from perdure.checkpoints.manifest import read_manifest

        path = self.checkpoints()[-1]
        manifest = read_manifest(path)
        start = RestorePoint(
            path=str(path), trial="t0", number=manifest.number, iteration=manifest.iteration, trusted=True
        )
        return {"start": start, "iteration": manifest.iteration, "time_total_s": manifest.time_total_s, **fields}


@pytest.fixture
def trial(tmp_path):
    path = tmp_path / "exp" / "train_t0"
    path.mkdir(parents=True)
    return Trial(path)


@pytest.fixture
def channel():
    return ScriptedChannel
