"""Population-based training: poor trials go on as varied copies of good ones, while all of them train."""

from __future__ import annotations

import dataclasses
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from perdure.arguments import a_kind, is_number, named_arguments
from perdure.core.events import Action, CheckpointInfo, Decision, Source
from perdure.errors import ConfigurationError, MetricError, PluginError
from perdure.rows import leaf
from perdure.schedulers.base import DEFAULT_METRIC, OLDER, Answer, Controller, Judgement, TrialScheduler
from perdure.schedulers.exploration import check_mutations, complete, explore
from perdure.schedulers.population import Ranking
from perdure.search_space.randomness import keyed_random
from perdure.trial_view import TrialView

_LOOKS = 64
"""So many good trials are asked for a checkpoint before a poor one trains on: more would grow with the population."""


@dataclasses.dataclass(slots=True)
class Member:
    """What is known of an unfinished trial of the population."""

    number: int
    score: float | None = None
    """At its last perturbation interval; the greater the better, whatever the mode."""
    scored_at: int | None = None
    """The iteration of that; None once the trial has become a clone, because the score is not of what it is now."""
    time: float = 0.0
    """Its `time_attr` then."""
    perturbed: float = 0.0
    """Its `time_attr` when it was last considered."""
    clones: int = 0
    """How often it went on from another trial."""
    saved: bool = False
    """Whether a row of it ever came with a checkpoint, which may be lost by now."""


@named_arguments(OLDER)
class PopulationBasedTraining(TrialScheduler):
    """Trains a population, and lets poor trials go on as varied copies of good ones (Jaderberg et al. 2017).

    Each time a trial has trained for another `perturbation_interval`, it is ranked among the population by its metric.
    One of the lower quantile goes on from the checkpoint of one drawn from the upper quantile, with that one's
    configuration varied: the checkpoint and the configuration are taken over in one journaled record, and the
    checkpoint is kept until the clone has one of its own. With fewer slots than trials, trials take turns, the one that
    has trained least first.

    Trials must save checkpoints: a function with `report(metrics, checkpoint=...)`, best at each perturbation
    interval; a class is told when. After loading one, a trial must apply its own configuration again, because what is
    loaded was trained with another. All draws follow from the seed of TuneConfig.

    Source: Jaderberg et al., "Population Based Training of Neural Networks", https://arxiv.org/abs/1711.09846.

    Args:
        time_attr: What measures progress: any column of the rows that only grows.
        metric, mode: What is compared, and whether "min" or "max" is best; by default those of TuneConfig.
        perturbation_interval: How much of `time_attr` passes between two looks at a trial.
        burn_in_period: How much of it passes before the first.
        hyperparam_mutations: What may vary, by its place in the configuration: a list of values in an order, a search
            space, a function without arguments, or a dict of these. What a trial's configuration lacks of it is drawn.
        quantile_fraction: How much of the population is the lower, and the upper, quantile: 0 to 0.5.
        resample_probability: How often a value is drawn anew instead of being moved to a neighbour or multiplied.
        perturbation_factors: What numbers are multiplied by.
        custom_explore_fn: Is given the varied configuration, and returns what it is to be.
        log_config: Write `pbt_global.txt` and `pbt_policy_<trial>.txt`, from which a schedule can be replayed.
        require_attrs: Refuse rows without `time_attr` or metric; otherwise they are passed over.
        synch: Compare trials only when all of them have reached the interval; each waits for the last.

    Raises:
        ConfigurationError: an argument cannot be used.
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        perturbation_interval: float = 60.0,
        burn_in_period: float = 0.0,
        hyperparam_mutations: Mapping[str, Any] | None = None,
        quantile_fraction: float = 0.25,
        resample_probability: float = 0.25,
        perturbation_factors: tuple[float, float] = (1.2, 0.8),
        custom_explore_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        log_config: bool = True,
        require_attrs: bool = True,
        synch: bool = False,
    ) -> None:
        super().__init__()
        mutations = dict(hyperparam_mutations or {})
        check_mutations(mutations)
        if not mutations and custom_explore_fn is None:
            raise ConfigurationError(
                f"{type(self).__name__} has nothing to vary: give hyperparam_mutations or custom_explore_fn."
            )
        if not 0 <= quantile_fraction <= 0.5:
            raise ConfigurationError(f"quantile_fraction={quantile_fraction!r}: use a number from 0 to 0.5.")
        if perturbation_interval <= 0:
            raise ConfigurationError(f"perturbation_interval={perturbation_interval!r}: use a number above 0.")
        if not 0 <= resample_probability <= 1:
            raise ConfigurationError(f"resample_probability={resample_probability!r}: use a number from 0 to 1.")
        if not perturbation_factors:
            raise ConfigurationError("perturbation_factors has no factors; the usual ones are (1.2, 0.8).")
        if mode not in (None, "min", "max"):
            raise ConfigurationError(f'mode={mode!r}: use "min" or "max".')
        for factor in perturbation_factors:
            if not is_number(factor):
                raise ConfigurationError(
                    f"perturbation_factors={perturbation_factors!r}: use numbers; {factor!r} is {a_kind(factor)}."
                )
        self._time_attr = time_attr
        self._metric = metric
        self._mode = mode
        self._interval = perturbation_interval
        self._burn_in = burn_in_period
        self._mutations = mutations
        self._quantile = quantile_fraction
        self._resample_probability = resample_probability
        self._factors = tuple(perturbation_factors)
        self._custom = custom_explore_fn
        self._log_config = log_config
        self._require_attrs = require_attrs
        self._synch = synch
        self._seed: object = 0
        self._saves = False
        self._warned: set[str] = set()
        self._members: dict[str, Member] = {}
        self._savers: set[str] = set()
        """Of these, those that ever had a checkpoint."""
        self._ranking = Ranking()
        self._waiting = Ranking()
        """Trials that gave way, or wait for the others, by the time they have trained."""
        self._next_sync = max(perturbation_interval, burn_in_period)
        self._perturbations = 0

    @property
    def writes_policies(self) -> bool:
        """Whether the configurations that trials went through are written to files that can be replayed."""
        return self._log_config

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take over the metric and mode of TuneConfig; return False if the scheduler was made with its own.

        Raises:
            ConfigurationError: there is no mode, or a search algorithm next to this scheduler.
        """
        if (self._metric and metric) or (self._mode and mode):
            return False
        self._metric = metric or self._metric
        self._mode = mode or self._mode
        self._seed = spec.get("seed", self._seed)
        self._saves = bool(spec.get("saves", self._saves))
        name = type(self).__name__
        if spec.get("searcher") is not None:
            raise ConfigurationError(
                f"{name} changes the configurations of its trials itself: it cannot be used with "
                f"search_alg={type(spec['searcher']).__name__}. Leave search_alg out."
            )
        if self._mode is None:
            raise ConfigurationError(
                f"{name} needs to know what is best: give metric and mode to it, or to TuneConfig."
            )
        self._metric = self._metric or DEFAULT_METRIC
        return True

    # --- trials -----------------------------------------------------------------------------------------------------

    def prepare_config(self, number: int, config: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration with a draw for each hyperparameter of the mutations that it lacks."""
        return complete(config, self._mutations, keyed_random("pbt", "start", self._seed, number))

    def on_trial_add(self, controller: Controller, trial: TrialView) -> None:
        """Take the trial into the population."""
        self._members[trial.trial_id] = Member(trial.number)

    def on_trial_result(self, controller: Controller, trial: TrialView, result: dict[str, Any]) -> Answer:
        """Rank the trial if it is time to, and decide how it goes on.

        Raises:
            MetricError: the row lacks `time_attr` or the metric.
            PluginError: a good trial has never saved a checkpoint.
        """
        name = trial.trial_id
        if not self._take_in(trial, result, told=True):
            return self.CONTINUE
        answer = self._turn(name) if self._synch else self._consider(controller, trial, result)
        self._follow(name, result, answer.decision, answer.actions)
        return answer

    def on_trial_retold(
        self,
        controller: Controller,
        trial: TrialView,
        result: dict[str, Any],
        decision: str,
        actions: Sequence[Action],
    ) -> None:
        """Take in a row and what was decided then."""
        if self._take_in(trial, result, told=False):
            self._follow(trial.trial_id, result, decision, actions)

    def on_trial_complete(self, controller: Controller, trial: TrialView, result: dict[str, Any]) -> None:
        """Take the trial out of the population."""
        self._drop(trial.trial_id)

    def on_trial_error(self, controller: Controller, trial: TrialView) -> None:
        """Take the trial out of the population."""
        self._drop(trial.trial_id)

    def on_trial_remove(self, controller: Controller, trial: TrialView) -> None:
        """Take the trial out of the population."""
        self._drop(trial.trial_id)

    def _drop(self, name: str) -> None:
        self._members.pop(name, None)
        self._savers.discard(name)
        self._ranking.drop(name)
        self._waiting.drop(name)

    # --- rows -------------------------------------------------------------------------------------------------------

    def _take_in(self, trial: TrialView, result: dict[str, Any], *, told: bool) -> bool:
        """Note the score of a trial, if it is time to look at it. Return whether it is."""
        time, score = self._value(result, self._time_attr, told), self._value(result, self._metric or "", told)
        member = self._members[trial.trial_id]
        if result.get("checkpoint_dir_name") is not None:
            member.saved = True
            self._savers.add(trial.trial_id)
        self._waiting.drop(trial.trial_id)
        if time is None or score is None:
            return False
        if not (time >= self._burn_in and time - member.perturbed >= self._interval):  # neither holds of NaN
            return False
        member.time = time
        member.score = score if self._mode == "max" else -score
        member.scored_at = result["training_iteration"]
        self._ranking.put(trial.trial_id, member.score, member.number)
        self._noted(trial, member)
        return True

    def _noted(self, trial: TrialView, member: Member) -> None:
        """A trial has another score; for subclasses that learn from it."""

    def _value(self, result: dict[str, Any], name: str, told: bool) -> float | None:
        value = leaf(result, name)
        if isinstance(value, (int, float)):
            return value
        if self._require_attrs and told:
            raise MetricError(
                f"A row has no number {name!r}, by which {type(self).__name__} compares trials; it has: "
                f"{', '.join(sorted(map(str, result)))}. Report it in each row, name another, or pass "
                "require_attrs=False to pass such rows over."
            )
        if name not in self._warned:
            self._warned.add(name)
            warnings.warn(f"Rows without a number {name!r} are passed over by {type(self).__name__}.", stacklevel=2)
        return None

    # --- each trial by itself ---------------------------------------------------------------------------------------

    def _consider(self, controller: Controller, trial: TrialView, result: dict[str, Any]) -> Judgement:
        name = trial.trial_id
        gives_way = self._gives_way(controller, name)
        pause = self.PAUSE if gives_way else self.CONTINUE
        if not self._ranking.is_low(name, self._quantile):
            return Judgement(pause, save=self._ranking.is_high(name, self._quantile))
        clone = self._clone(controller, name, result["training_iteration"], resume=not gives_way)
        if clone is None:  # the checkpoint of a good trial is still to come: look again at the next row
            return Judgement(pause)
        return Judgement(self.PAUSE, [clone])

    def _gives_way(self, controller: Controller, name: str) -> bool:
        """Whether another trial, which has trained less, could use the place."""
        if controller.expects_more:
            return True
        first = self._waiting.first()
        if first is None:
            return False
        member, other = self._members[name], self._members[first]
        return (other.time, other.number) < (member.time, member.number)

    def _clone(self, controller: Controller, name: str, iteration: float, *, resume: bool) -> Action | None:
        """Return how a trial goes on from a good one; None if no good one has a checkpoint of what it is by now.

        Raises:
            PluginError: nobody has ever saved one.
        """
        member = self._members[name]
        rng = keyed_random("pbt", self._seed, member.number, iteration, member.clones)
        donor, info = self._donor(controller, rng)
        if donor is None or info is None:
            self._check_savers(controller, name)
            return None
        trial, good = controller.get_trial(name), controller.get_trial(donor)
        assert trial is not None
        assert good is not None
        config = self._varied(trial, good, rng)
        source = Source(trial=donor, number=info.number)
        return Action(trial=name, decision=Decision.PAUSE, donor=source, config=config, resume=resume)

    def _donor(self, controller: Controller, rng: random.Random) -> tuple[str | None, CheckpointInfo | None]:
        """Draw a trial of the upper quantile that has a checkpoint of what was ranked, from a drawn place on."""
        count = self._ranking.quantile(self._quantile)
        drawn = rng.randrange(count)
        for offset in range(min(count, _LOOKS)):
            name = self._ranking.best((drawn + offset) % count)
            scored_at, info = self._members[name].scored_at, controller.checkpoint_of(name)
            if scored_at is None or info is None:
                continue
            if not self._saves or info.iteration >= scored_at:  # a class was told to save, so it will have one
                return name, info
        return None, None

    def _check_savers(self, controller: Controller, name: str) -> None:
        """Refuse to go on with a population that saves no checkpoints.

        One trial that ever had one shows that they do, and that the good ones' were lost, as in a power cut, or are
        still to come.

        Raises:
            PluginError: nobody has ever saved one, and they are not told to.
        """
        if not (self._saves or self._savers or controller.checkpoint_of(name) is not None):
            raise PluginError(
                f"{type(self).__name__} has trial {name} go on from a better one, and no trial has saved a "
                "checkpoint. Report one along with the metrics (report(metrics, checkpoint=...)), at least every "
                f"perturbation_interval ({self._interval:g} {self._time_attr}), and load get_checkpoint() at the start."
            )

    def _varied(self, trial: TrialView, donor: TrialView, rng: random.Random) -> dict[str, Any]:
        """Return the configuration with which a trial goes on from a donor."""
        return explore(
            donor.config,
            self._mutations,
            resample_probability=self._resample_probability,
            factors=self._factors,
            rng=rng,
            custom=self._custom,
        )

    # --- all together -----------------------------------------------------------------------------------------------

    def _turn(self, name: str) -> Judgement:
        """Have a trial wait until the others are where it is."""
        return Judgement(self.PAUSE if self._members[name].time >= self._next_sync else self.CONTINUE)

    def wake(self, controller: Controller) -> Sequence[Action]:
        """Return which trial has its turn; or, if they go together, all of them, once the last one is there."""
        paused = (name for name in self._waiting if _is_paused(controller, name))
        if not self._synch:
            actions = [_resumed(name) for name in islice(paused, 1)]
        elif controller.count(TrialView.RUNNING) or controller.count(TrialView.PENDING):
            actions = []
        else:
            actions = self._perturbed(controller, list(paused))
        self._woken(actions)
        return actions

    def _perturbed(self, controller: Controller, paused: list[str]) -> list[Action]:
        """Return how each trial of a population that waits goes on: the good ones first."""
        low = set(self._ranking.low(self._quantile))
        actions = [_resumed(name) for name in paused if name not in low]
        clones = ((name, self._clone(controller, name, self._next_sync, resume=True)) for name in paused if name in low)
        return [*actions, *(clone or _resumed(name) for name, clone in clones)]

    # --- what was decided, told by ourselves or after a restore -----------------------------------------------------

    def _follow(self, name: str, result: dict[str, Any], decision: str, actions: Sequence[Action]) -> None:
        """Note what became of a trial that was looked at."""
        member = self._members[name]
        clone = next((action for action in actions if action.trial == name and action.donor is not None), None)
        if not self._synch and (clone is not None or not self._ranking.is_low(name, self._quantile)):
            member.perturbed = member.time
        if clone is not None:
            self._cloned(clone)
        if decision == self.PAUSE and not (clone is not None and clone.resume):
            self._waiting.put(name, member.time, member.number)

    def on_actions_retold(self, controller: Controller, actions: Sequence[Action]) -> None:
        """Note whose turn it was."""
        self._woken(actions)

    def _woken(self, actions: Sequence[Action]) -> None:
        woken = [action for action in actions if action.resume and action.trial in self._waiting]
        if self._synch and woken:
            for member in self._members.values():
                member.perturbed = member.time
            furthest = max(member.time for member in self._members.values())
            self._next_sync = max(self._next_sync + self._interval, furthest)
        for action in woken:
            self._waiting.drop(action.trial)
            if action.donor is not None:
                self._cloned(action)

    def _cloned(self, action: Action) -> None:
        assert action.donor is not None
        member, donor = self._members[action.trial], self._members.get(action.donor.trial)
        member.clones += 1
        self._savers.add(action.trial)
        member.scored_at = None
        self._perturbations += 1
        if donor is not None:
            member.time, member.perturbed = donor.time, donor.perturbed

    # --- state ------------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any] | None:
        """Return what is known of the population."""
        return {
            "members": {name: dataclasses.asdict(member) for name, member in self._members.items()},
            "waiting": list(self._waiting),
            "next_sync": self._next_sync,
            "perturbations": self._perturbations,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned."""
        self._members = {name: Member(**member) for name, member in state["members"].items()}
        self._savers = {name for name, member in self._members.items() if member.saved or member.clones}
        self._ranking, self._waiting = Ranking(), Ranking()
        for name, member in self._members.items():
            self._ranking.put(name, member.score, member.number)
        for name in state["waiting"]:
            self._waiting.put(name, self._members[name].time, self._members[name].number)
        self._next_sync = state["next_sync"]
        self._perturbations = state["perturbations"]

    def debug_string(self) -> str:
        """Return a line for people."""
        return f"{type(self).__name__}: {self._perturbations} trials went on as clones of better ones."


def _is_paused(controller: Controller, name: str) -> bool:
    trial = controller.get_trial(name)
    return trial is not None and trial.status == TrialView.PAUSED


def _resumed(name: str) -> Action:
    return Action(trial=name, decision=Decision.CONTINUE, resume=True)
