"""What things are called: trials, their tags and their directories.

Names are for people and for file systems: a directory name is at most 64 characters, legal on every system, and says
which trial it is and what was searched.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, lru_cache
from random import Random
from typing import Any

from perdure.errors import ConfigurationError
from perdure.search_space.paths import flatten
from perdure.search_space.randomness import keyed_random
from perdure.trial_view import TrialView

MAX_DIRECTORY = 64
"""Characters of a directory name that perdure makes."""
MAX_CUSTOM_DIRECTORY = 200
"""Characters of one that a user's function makes: file systems take 255 bytes."""
_LEAST_NAME = 12  # characters of the name that are kept before parameters are left out

_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_OWN = re.compile(
    r"\..*|(journal|snapshot)[-.].*|control|claim\.json|(trainable|tuner|parameter).*\.pkl", re.IGNORECASE
)
"""What else lies in an experiment's directory, now or later."""
_ILLEGAL = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|()]')
_UNREADABLE = re.compile(r"[^A-Za-z0-9_-]+")


def new_token() -> str:
    """Return five random hexadecimal digits: what the ids of one experiment's trials begin with."""
    return secrets.token_hex(3)[:5]


def trial_id(token: str, number: int) -> str:
    """Return the id of a trial, `a1b2c_00042`; numbers above 99,999 take more digits."""
    return f"{token}_{number:05d}"


def experiment_tag(number: int, searched: Mapping[str, Any]) -> str:
    """Return the number of a trial and what was searched: `3_lr=0.1000,units=32`."""
    pairs = _pairs(searched)
    return f"{number}_{','.join(pairs)}" if pairs else str(number)


def safe_filename(name: str) -> str:
    """Return `name` as one that every file system takes, Windows' among them; what it refuses becomes "_"."""
    legal = _ILLEGAL.sub("_", name).rstrip(". ")
    if _RESERVED.fullmatch(legal) or legal in ("", ".", ".."):
        legal = f"_{legal.strip('.')}"
    return legal


def directory_name(name: str, tag: str, date: str, *, unique: str = "") -> str:
    """Return `<name>_<unique>_<tag>_<date>` in at most 64 characters.

    What was searched says more than when it began. So where there is no room for all of it the date gives way first,
    its time of day and then its day; then the name is cut, and at last parameters are left out, each as a whole.
    `unique` and the number that begins the tag are always in it.

    Args:
        date: As `2026-11-25_12-00-00`.
    """
    number, _, parameters = tag.partition("_")
    name = _clean(name)
    shortest = name[:_LEAST_NAME]
    for shown in (date, date.partition("_")[0], ""):
        fixed = [part for part in (unique, number, shown) if part]
        room = MAX_DIRECTORY - sum(len(part) + 1 for part in fixed)
        if len(shortest) + len(parameters) + 1 <= room:
            break
    name = name[: max(_LEAST_NAME, room - len(parameters) - 1)].rstrip("._-")
    parts = [name, unique, number, _fitting(parameters, room - len(name) - 1), shown]
    return safe_filename("_".join(part for part in parts if part))


class Namer:
    """Names the trials of one experiment.

    Args:
        trainable: The name of the trainable.
        experiment: The name of the experiment.
        seed: Of TuneConfig.
        token: What trial ids begin with, or any trial id of the experiment; None makes a new one.
        trial_name_creator: The user's function of a trial, for its name.
        trial_dirname_creator: The user's function of a trial, for its directory.
        taken: Directory names that are in use.
        clock: Gives Unix seconds, for the date in directory names.
    """

    def __init__(
        self,
        *,
        trainable: str,
        experiment: str = "",
        seed: int | None = None,
        token: str | None = None,
        trial_name_creator: Callable[[Any], str] | None = None,
        trial_dirname_creator: Callable[[Any], str] | None = None,
        taken: Iterable[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.token = new_token() if token is None else token.partition("_")[0]
        self.trainable = trainable
        self.experiment = experiment
        self._seed = seed
        self._name_creator = trial_name_creator
        self._dirname_creator = trial_dirname_creator
        self._generator: Random | None = None
        self._taken = {name.casefold() for name in taken}
        self._clock = clock

    @cached_property
    def search_seed(self) -> int:
        """The seed for random search: the one of TuneConfig, or one that follows from the token.

        So a restore that knows one trial id goes on drawing as the first run would have.
        """
        return keyed_random("search", self.token).getrandbits(48) if self._seed is None else self._seed

    def trial_id(self, number: int) -> str:
        """Return the id of trial `number`."""
        return trial_id(self.token, number)

    def seed(self, number: int) -> int:
        """Return the seed of trial `number`, 0 to 2**31 - 1."""
        self._generator = keyed_random("trial", self.search_seed, number, into=self._generator)
        return self._generator.getrandbits(31)

    def tag(self, number: int, searched: Mapping[str, Any]) -> str:
        """Return the experiment tag of trial `number`."""
        return experiment_tag(number, searched)

    def name(self, trial: TrialView) -> str:
        """Return the trial's name: the user's, or `<trainable>_<id>`.

        Raises:
            ConfigurationError: the user's function raised, or returned no usable name.
        """
        if self._name_creator is None:
            return f"{self.trainable}_{trial.trial_id}"
        return _asked("trial_name_creator", self._name_creator, trial)

    def directory(self, trial: TrialView) -> str:
        """Return the name of the trial's directory, which no other trial has.

        Raises:
            ConfigurationError: the user's function raised, or returned no usable name.
        """
        if self._dirname_creator is not None:
            return self._unique(_checked_directory(_asked("trial_dirname_creator", self._dirname_creator, trial)))
        date = _date_of(int(self._clock()))
        if self._name_creator is not None:
            return self._unique(directory_name(trial.trial_name, trial.experiment_tag, date))
        # Names with a trial id in them differ from each other; a power cut may have left a directory of that name.
        return self._free(directory_name(self.trainable, trial.experiment_tag, date, unique=trial.trial_id))

    def _unique(self, name: str) -> str:
        """Return `name`, or with a number after it if there is such a directory; two trials never share one."""
        unique = self._free(name)
        self._taken.add(unique.casefold())
        return unique

    def _free(self, name: str) -> str:
        unique, count = name, 1
        while unique.casefold() in self._taken:
            count += 1
            unique = f"{name}_{count}"
        return unique


@lru_cache(maxsize=16)
def _date_of(second: int) -> str:
    return time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(second))


def _asked(what: str, creator: Callable[[Any], str], trial: TrialView) -> str:
    try:
        name: object = creator(trial)
    except Exception as error:
        raise ConfigurationError(
            f"{what} raised {type(error).__name__} for trial {trial.trial_id}: {error}. No trial was created."
        ) from error
    if not isinstance(name, str) or not name.strip():
        raise ConfigurationError(
            f"{what} returned {name!r} for trial {trial.trial_id}; it must return a string that is not empty."
        )
    return name


def _checked_directory(name: str) -> str:
    if "/" in name or os.sep in name or name in (".", ".."):
        raise ConfigurationError(
            f"trial_dirname_creator returned {name!r}; it must be one directory's name, without {os.sep!r}."
        )
    if len(name.encode()) > MAX_CUSTOM_DIRECTORY:
        raise ConfigurationError(
            f"trial_dirname_creator returned a name of {len(name.encode())} bytes, {name[:40]!r}...; "
            f"use at most {MAX_CUSTOM_DIRECTORY}."
        )
    safe = safe_filename(name)
    return f"_{safe}" if _OWN.fullmatch(safe) else safe


def _pairs(searched: Mapping[str, Any]) -> list[str]:
    flat: dict[str, Any] = {}
    for outer, inner in searched.items():
        flat.update(flatten(inner, (outer,)) if isinstance(inner, dict) else {outer: inner})
    return [f"{_last_name(key)}={_value(value)}" for key, value in sorted(flat.items())]


@lru_cache(maxsize=1024)
def _last_name(key: str) -> str:
    return _readable(key.rsplit("/", 1)[-1])


def _value(value: Any) -> str:
    if isinstance(value, float):
        tiny = value != 0 and abs(value) < 1e-4
        return f"{value:.3e}" if tiny or abs(value) >= 1e16 else f"{value:.4f}"
    name = getattr(value, "__name__", None)
    return _readable(name if isinstance(name, str) else str(value))


def _readable(text: str) -> str:
    return _UNREADABLE.sub("_", text).strip("_")


@lru_cache(maxsize=1024)
def _clean(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.=,-]+", "_", name).strip("._") or "trial"


def _fitting(parameters: str, room: int) -> str:
    """Return those parameters that fit, in order; or the beginning of the first one."""
    if len(parameters) <= room:
        return parameters
    whole = ""
    for pair in parameters.split(","):
        longer = f"{whole},{pair}" if whole else pair
        if len(longer) <= room:
            whole = longer
    return whole or parameters[: max(0, room)].rstrip("._-=")
