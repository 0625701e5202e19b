"""Population-based bandits: population-based training whose new hyperparameters a Gaussian process chooses."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from perdure.arguments import named_arguments
from perdure.core.events import Action
from perdure.errors import ConfigurationError
from perdure.schedulers.bandit import PENDING, WINDOW, Observation, choose
from perdure.schedulers.base import OLDER
from perdure.schedulers.exploration import customized
from perdure.schedulers.pbt import Member, PopulationBasedTraining
from perdure.search_space.functions import uniform
from perdure.trial_view import TrialView

Place = tuple[str, ...]


@dataclasses.dataclass(slots=True)
class Interval:
    """The interval of training that a trial is in."""

    time: float
    """Its `time_attr` when it began."""
    score: float
    values: tuple[float, ...]


@named_arguments(OLDER)
class PB2(PopulationBasedTraining):
    """Population-based training that chooses instead of drawing (Parker-Holder et al. 2020).

    What a clone goes on with is chosen by a Gaussian process that has learnt from the newest 200 intervals which
    hyperparameters raise the score fastest, and when. It does well with small populations. Until there is anything to
    learn from, a clone goes on with its donor's hyperparameters. A choice takes some tens of milliseconds at most,
    however large the population is; other rows take as long as in population-based training.

    Needs NumPy: `pip install 'perdure[pb2]'`.

    Source: Parker-Holder et al., "Provably Efficient Online Hyperparameter Optimization with Population-Based
    Bandits", https://arxiv.org/abs/2002.02518.

    Args:
        time_attr, metric, mode, perturbation_interval: See `PopulationBasedTraining`.
        hyperparam_bounds: What may vary, by its place in the configuration: `[low, high]`, or a dict of these. A trial
            whose configuration lacks one begins with a uniform draw.
        quantile_fraction, log_config, require_attrs, synch: See `PopulationBasedTraining`.
        custom_explore_fn: Is given the chosen configuration, and returns what it is to be.

    Raises:
        ConfigurationError: an argument cannot be used.
        ModuleNotFoundError: NumPy is not installed.
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        perturbation_interval: float = 60.0,
        hyperparam_bounds: Mapping[str, Any] | None = None,
        quantile_fraction: float = 0.25,
        log_config: bool = True,
        require_attrs: bool = True,
        synch: bool = False,
        custom_explore_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        if importlib.util.find_spec("numpy") is None:
            raise ModuleNotFoundError("PB2 needs NumPy, which is not installed: pip install 'perdure[pb2]'.")
        if not hyperparam_bounds:
            raise ConfigurationError("PB2 has nothing to vary: give hyperparam_bounds, such as {'lr': [1e-4, 0.1]}.")
        self._bounds = dict(_bounds(hyperparam_bounds, ()))
        super().__init__(
            time_attr=time_attr,
            metric=metric,
            mode=mode,
            perturbation_interval=perturbation_interval,
            hyperparam_mutations=_as_mutations(hyperparam_bounds),
            quantile_fraction=quantile_fraction,
            resample_probability=0,
            custom_explore_fn=custom_explore_fn,
            log_config=log_config,
            require_attrs=require_attrs,
            synch=synch,
        )
        self._observations: deque[Observation] = deque(maxlen=WINDOW)
        self._intervals: dict[str, Interval] = {}
        self._pending: dict[str, None] = {}
        """Trials whose hyperparameters were chosen and have no outcome yet, in the order of the choices."""

    def _noted(self, trial: TrialView, member: Member) -> None:
        """Learn from the interval that a trial has come through, and note the next."""
        assert member.score is not None
        values = self._values(trial.config)
        past = self._intervals.get(trial.trial_id)
        if past is not None and past.values == values and member.time > past.time:
            gain = (member.score - past.score) / (member.time - past.time)
            if math.isfinite(past.score) and math.isfinite(gain):  # of a trial that diverges, nothing is to be learnt
                self._observations.append(Observation(member.time / self._interval, past.score, values, gain))
        self._pending.pop(trial.trial_id, None)
        self._intervals[trial.trial_id] = Interval(member.time, member.score, values)

    def _cloned(self, action: Action) -> None:
        super()._cloned(action)
        assert action.donor is not None
        donor = self._members.get(action.donor.trial)
        self._forget(action.trial)
        if donor is not None and donor.score is not None and action.config is not None:
            values = self._values(action.config)
            self._intervals[action.trial] = Interval(donor.time, donor.score, values)
            self._pending[action.trial] = None

    def _drop(self, name: str) -> None:
        super()._drop(name)
        self._forget(name)

    def _forget(self, name: str) -> None:
        self._intervals.pop(name, None)
        self._pending.pop(name, None)

    def _varied(self, trial: TrialView, donor: TrialView, rng: random.Random) -> dict[str, Any]:
        """Return the donor's configuration with the hyperparameters that promise most."""
        config = dict(donor.config)
        member = self._members[donor.trial_id]
        if self._observations and member.score is not None and math.isfinite(member.score):
            newest = itertools.islice(reversed(self._pending), PENDING)
            pending = [self._intervals[name].values for name in newest][::-1]
            now = member.time / self._interval + 1
            chosen = choose(self._observations, pending, now=now, score=member.score, rng=rng)
            for (place, (low, high)), value in zip(self._bounds.items(), chosen, strict=True):
                _put(config, place, low + value * (high - low))
        return config if self._custom is None else customized(self._custom, config, rng)

    def _values(self, config: Mapping[str, Any]) -> tuple[float, ...]:
        """Return the hyperparameters of a configuration, each from 0 to 1 within its bounds."""
        return tuple(
            (float(_at(config, place)) - low) / (high - low) if high > low else 0.0
            for place, (low, high) in self._bounds.items()
        )

    def get_state(self) -> dict[str, Any] | None:
        """Return what is known of the population, and what was learnt from it."""
        state = super().get_state()
        assert state is not None
        return {
            **state,
            "observations": [[each.round, each.before, list(each.values), each.gain] for each in self._observations],
            "intervals": {
                name: [each.time, each.score, list(each.values), name in self._pending]
                for name, each in self._intervals.items()  # those that are pending in the order of the choices
            },
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` returned."""
        super().set_state(state)
        self._observations = deque(
            (Observation(when, before, tuple(values), gain) for when, before, values, gain in state["observations"]),
            maxlen=WINDOW,
        )
        self._intervals = {
            name: Interval(time, score, tuple(values)) for name, (time, score, values, _) in state["intervals"].items()
        }
        self._pending = dict.fromkeys(name for name, (*_, pending) in state["intervals"].items() if pending)


def _bounds(given: Mapping[str, Any], outer: Place) -> Iterator[tuple[Place, tuple[float, float]]]:
    for key, bounds in given.items():
        place = (*outer, key)
        if isinstance(bounds, Mapping):
            yield from _bounds(bounds, place)
        elif not isinstance(bounds, (list, tuple)) or len(bounds) != 2 or bounds[0] > bounds[1]:
            raise ConfigurationError(
                f"hyperparam_bounds: {'/'.join(place)}={bounds!r} is no [low, high] with low not above high."
            )
        else:
            yield place, (float(bounds[0]), float(bounds[1]))


def _as_mutations(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _as_mutations(bounds) if isinstance(bounds, Mapping) else uniform(*bounds) for key, bounds in given.items()
    }


def _at(config: Mapping[str, Any], place: Place) -> Any:
    value: Any = config
    for key in place:
        value = value[key]
    return value


def _put(config: dict[str, Any], place: Place, value: float) -> None:
    """Replace a number in place, as of its kind; the dicts on the way to it are copied."""
    *way, last = place
    for key in way:
        config[key] = dict(config[key])
        config = config[key]
    config[last] = round(value) if isinstance(config[last], int) else value
