"""Runs one trial through the configurations that a trial of population-based training went through."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perdure.arguments import named_arguments
from perdure.core.events import Action, Decision
from perdure.errors import ConfigurationError
from perdure.loggers.policies import differences
from perdure.schedulers.base import Answer, Controller, Judgement, TrialScheduler
from perdure.trial_view import TrialView


@named_arguments()
class PopulationBasedTrainingReplay(TrialScheduler):
    """Replays the schedule of configurations that population-based training found.

    The one trial begins with the configuration that the schedule begins with. At each iteration at which a
    configuration was replaced it is paused, and goes on from its own checkpoint with the next one; so it must save
    checkpoints, as under `PopulationBasedTraining`.

    Args:
        policy_file: A `pbt_policy_<trial>.txt` of an experiment that ran with `log_config=True`.

    Raises:
        ConfigurationError: the file is not there, is no policy, or is not the one that the journal beside it tells of.
            In another directory nothing but its form can be checked.

    `config` is the configuration that the schedule begins with, None if the trial never changed it; `_policy`, which
    Ray's guide prints, holds (iteration, next configuration) of each change.
    """

    def __init__(self, policy_file: str | os.PathLike[str]) -> None:
        super().__init__()
        path = Path(policy_file).expanduser()
        self.policy_file = path.as_posix()
        self.config, self._policy = read_policy(path)
        self._done = 0
        """How many of the policy's changes were made."""
        self._step = 0

    def prepare_config(self, number: int, config: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration with which the schedule begins.

        Raises:
            ConfigurationError: there is a second trial, or neither the file nor `param_space` has a configuration.
        """
        if number > 0:
            raise ConfigurationError(
                "PopulationBasedTrainingReplay runs one trial; another one would be trained in the very same way. "
                "Leave num_samples at 1 and grid_search out."
            )
        if self.config is None and not config:
            raise ConfigurationError(
                f"{self.policy_file} holds no change, and param_space is empty: there is no configuration to train "
                "with. Give one as param_space."
            )
        return config if self.config is None else dict(self.config)

    def on_trial_result(self, controller: Controller, trial: TrialView, result: dict[str, Any]) -> Answer:
        """Give the trial its next configuration if it has come so far."""
        self._step = result["training_iteration"]
        if self._done >= len(self._policy) or self._step < self._policy[self._done][0]:
            return self.CONTINUE
        config = self._policy[self._done][1]
        self._done += 1
        action = Action(trial=trial.trial_id, decision=Decision.PAUSE, config=config, resume=True)
        return Judgement(self.PAUSE, [action])

    def on_trial_retold(
        self,
        controller: Controller,
        trial: TrialView,
        result: dict[str, Any],
        decision: str,
        actions: Sequence[Action],
    ) -> None:
        """Count the changes that were made."""
        self._step = result["training_iteration"]
        self._done += sum(action.config is not None for action in actions)

    def get_state(self) -> dict[str, Any] | None:
        """Return how far the schedule is carried out."""
        return {"done": self._done, "step": self._step}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned."""
        self._done, self._step = state["done"], state["step"]

    def debug_string(self) -> str:
        """Return a line for people."""
        return f"Replay of {self.policy_file}: {self._done} of {len(self._policy)} changes, at iteration {self._step}."


def read_policy(path: Path) -> tuple[dict[str, Any] | None, list[tuple[int, dict[str, Any]]]]:
    """Return the configuration that a policy begins with (None if nothing changes) and each (iteration, next one).

    A policy lists [tag, donor's tag, iteration, donor's iteration, donor's configuration, next configuration] of each
    exploit. A trial that exploits another throws away what it was, so only the chain of donors counts that leads to
    the last line.

    Raises:
        ConfigurationError: the file is not there, is no policy, or is not the one that the journal beside it tells of.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigurationError(f"The policy file {path} cannot be read: {error}.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"The policy file {path} is no text: {error}.") from error
    if where := differences([path]).get(path):
        raise ConfigurationError(
            f"The policy file {path} is damaged, was changed, or lags behind: {where}. The experiment's next session "
            "(`perdure resume`) writes it anew. To replay a policy that you have changed, put it elsewhere."
        )
    rows = [_row(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    changes: list[tuple[int, dict[str, Any]]] = []
    first: dict[str, Any] | None = None
    donor: str | None = None
    for tag, donor_tag, _, iteration, donor_config, config in reversed(rows):
        if donor is not None and tag != donor:
            break
        donor, first = donor_tag, donor_config
        changes.append((iteration, config))
    return first, changes[::-1]


def _row(path: Path, number: int, line: str) -> tuple[str, str, int, int, dict[str, Any], dict[str, Any]]:
    try:
        tag, donor_tag, iteration, donor_iteration, donor_config, config = json.loads(line)
        if not isinstance(config, dict) or not isinstance(iteration, int):
            raise TypeError("an iteration or a configuration is none")
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"Line {number} of {path} is no step of a policy: {error}. Give a pbt_policy_<trial>.txt file."
        ) from error
    return tag, donor_tag, iteration, donor_iteration, donor_config, config
