"""What an experiment was asked for as data, and how that differs from what it is asked for now.

The description is journaled when an experiment begins, so that a restore can be compared with it without loading a
pickle, and each change after that is journaled as a record of its own (`DefinitionChanged`). It is for comparing and
for reading; what runs are the objects themselves.

A change holds for what is still to come: trials that exist keep their configurations, rows that were judged stay
judged. What cannot hold that way is refused before anything is written.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import inspect
import json
import math
import time
import weakref
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import xxhash

from perdure.core.events import Change, Data
from perdure.errors import ConfigurationError
from perdure.journal.values import ADDRESS, unicode_text
from perdure.schedulers.base import TrialScheduler
from perdure.search_space.domains import Domain, as_domain, grid_values, is_grid
from perdure.search_space.grids import find_grids
from perdure.search_space.paths import path_text
from perdure.search_space.space import unresolved
from perdure.searchers.base import Searcher
from perdure.searchers.basic_variant import BasicVariantGenerator
from perdure.stoppers.base import Stopper
from perdure.trainable.wrappers import fixed_resources_of

if TYPE_CHECKING:
    from perdure.definition import Definition
    from perdure.searchers.driver import SearchDriver

_LONGEST = 200
"""Characters of one value that are kept as they are; of a longer one the beginning and a digest."""
_LARGEST = 10_000
"""The same of a dictionary, all of it as JSON."""
_PLUGINS = (Searcher, BasicVariantGenerator, TrialScheduler, Stopper)
_SET_LATER = ("metric", "mode", "made_with", "saves", "seed", "asked_at")
"""What plugins take over from TuneConfig, which is a part of its own; and a reading of the clock."""
_DERIVED = ("bracket_of", "pending", "warned")
"""What our schedulers remember beside what `get_state` returns: it follows from that, or does not matter."""
_OURS = "perdure."
_AS_MADE: dict[int, Data] = {}
"""What users' plugins that are alive looked like when they were first described, by `id`."""
_DAY_S = 86_400
FUNCTION_OF_CONFIG = "a function of the config"


def describe(definition: Definition) -> Data:
    """Return what `definition` asks for, as JSON data by the names that users know it by.

    Plugins remember more as they are used, so this is asked for when a definition is made.
    """
    tune, run = definition.tune_config, definition.run_config
    space, budget = dict(definition.param_space), tune.time_budget_s
    resources = fixed_resources_of(definition.trainable)
    described = {
        "trainable": definition.name,
        "param_space": {unicode_text(path_text(path)): _described(domain) for path, domain in unresolved(space)},
        "constants": _constants(space),
        "grids": [
            [unicode_text(path_text(grid.path)), [_described(value) for value in grid.values]]
            for grid in find_grids(space)
        ],
        "num_samples": tune.num_samples,
        "metric": _described(tune.metric),
        "mode": _described(tune.mode),
        "search_alg": _plugin(tune.search_alg),
        "scheduler": _plugin(tune.scheduler),
        "max_concurrent_trials": tune.max_concurrent_trials or 0,
        "time_budget_s": budget.total_seconds() if isinstance(budget, dt.timedelta) else budget,
        "seed": tune.seed,
        "stop": _plugin(run.stop),
        "resources": FUNCTION_OF_CONFIG if resources is None else resources,
        "failure_config": _described(dataclasses.asdict(run.failure_config)),
        "checkpoint_config": _described(dataclasses.asdict(run.checkpoint_config)),
    }
    decoded = msgspec.json.decode(msgspec.json.encode(described))  # as a journal gives it back
    assert isinstance(decoded, dict)
    return decoded


def differences(before: Data, after: Data) -> tuple[Change, ...]:
    """Return what is asked for otherwise in `after`, in its order; of dictionaries, their entries one by one.

    Nothing where nobody knows what was asked for `before`, because the journal is older than such records.
    """
    return tuple(_differences(before, after, ())) if before else ()


def changed_parts(changes: Iterable[Change]) -> frozenset[str]:
    """Return the names of the parts that `changes` are about: "stop" for "stop/training_iteration"."""
    return frozenset(change.what.partition("/")[0] for change in changes)


def parts_changed(then: Data, now: Data, given: frozenset[str] | None) -> frozenset[str]:
    """Return the parts that are others `now` than `then`; if nobody knows those, what was `given` anew (None: all)."""
    if then:
        return changed_parts(differences(then, now))
    return frozenset(now) if given is None else given


def listed(changes: Iterable[Change]) -> str:
    """Return "num_samples from 4 to 8; stop/training_iteration from 10 to 20"."""
    changes = tuple(changes)
    told = [change for change in changes if change.what != "grids"] or changes  # param_space tells of them
    return "; ".join(f"{change.what} from {_text(change.before)} to {_text(change.after)}" for change in told)


def check(
    changes: tuple[Change, ...], parts: frozenset[str], before: Data, *, created: int, search: SearchDriver
) -> None:
    """Refuse what the `created` trials of an experiment leave no room for.

    `parts` are those of the definition that are, or may be, others than `before`.

    Raises:
        ConfigurationError: fewer trials are asked for than there are, or grids change other than by further values of
            the slowest one, or the searcher cannot take other bounds. Nothing was changed.
    """
    if parts & {"num_samples", "grids", "search_alg"} and search.total is not None and search.total < created:
        raise ConfigurationError(
            f"num_samples asks for {search.total} trials in all, and {created} were created already: num_samples is "
            "the new total, and trials are never removed. Nothing was changed. Give as many as there are to add none, "
            "or more."
        )
    if isinstance(search.searcher, BasicVariantGenerator):
        if "grids" in parts and before and created:
            _check_grids(before, changes, search.searcher, created)
    elif "param_space" in parts and "search_alg" not in parts and not search.change_space():
        changed = ", ".join(change.what for change in changes if change.what.startswith("param_space/")) or "all of it"
        raise ConfigurationError(
            f"{type(search.searcher).__name__} cannot take another search space in the middle of an experiment, and "
            f"it was changed ({changed}). Nothing was changed. Leave the space as it was, or start a new "
            "experiment and give its searcher the old results (Searcher.add_evaluated_trials)."
        )


def _check_grids(before: Data, changes: Iterable[Change], generator: BasicVariantGenerator, created: int) -> None:
    """See that the combinations that exist keep their numbers: only then is it known which ones are missing."""
    old = before.get("grids")
    new = next(change.after for change in changes if change.what == "grids")
    assert isinstance(old, list)
    assert isinstance(new, list)
    combinations = 1
    for _, values in old:
        combinations *= len(values)
    same_but_last = bool(old) and len(old) == len(new) and old[:-1] == new[:-1] and old[-1][0] == new[-1][0]
    grows = same_but_last and new[-1][1][: len(old[-1][1])] == old[-1][1]
    nested = "grid_search" in json.dumps([old, new])
    if nested or generator.points_to_evaluate or not (grows and created <= combinations):
        names = ", ".join(name for name, _ in new) or ", ".join(name for name, _ in old)
        raise ConfigurationError(
            f"The grids of param_space were changed ({names}) after {created} trials: which combinations are still "
            "missing cannot be told any more. Nothing was changed. What can be added are values at the end of the "
            "grid whose parameter comes last by name, in the first sample; or start a new experiment for the others."
        )


def _differences(before: Any, after: Any, path: tuple[str, ...]) -> Iterable[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys((*after, *before)):
            yield from _differences(before.get(name), after.get(name), (*path, name))
    elif before != after:
        yield Change(what="/".join(path), before=before, after=after)


def _constants(node: Any) -> Any:
    """Return what is not searched of a space as data."""
    if isinstance(node, dict):
        return {_key(key): _described(_constants(child)) for key, child in node.items() if as_domain(child) is None}
    if isinstance(node, (list, tuple)):
        return _described([None if as_domain(child) is not None else _constants(child) for child in node])
    return _described(node)


def _described(value: Any) -> Any:
    """Return a part of what was asked for as data that differs where the part does."""
    if isinstance(value, (bool, int, float, str, type(None))):
        return _scalar(value)
    if is_grid(value):
        return {"grid_search": _described(list(grid_values(value)))}
    if isinstance(value, Domain):
        return _short(_domain_text(value))
    if isinstance(value, Mapping):
        entries = {_key(key): _described(item) for key, item in value.items()}
        text = json.dumps(entries)
        return entries if len(text) <= _LARGEST else _short(text)
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [_described(item) for item in value]
        if isinstance(value, (set, frozenset)):  # the order of strings in it is another in each process
            items.sort(key=json.dumps)
        text = json.dumps(items)
        return items if len(text) <= _LONGEST else [_short(text)]
    if isinstance(value, type) or inspect.isroutine(value):
        return str(value.__qualname__)
    return _short(_representation(value))


def _representation(value: object) -> str:
    try:
        return ADDRESS.sub("", repr(value))
    except Exception:  # of a user's own class
        return f"<{type(value).__qualname__}>"


def _scalar(value: Any) -> Any:
    match value:
        case bool() | None:
            return value
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else repr(value)
        case _:
            return _short(str(value))


def _domain_text(domain: Domain) -> str:
    if domain.is_function():
        return "<sample_from>"
    categories = getattr(domain, "categories", None)
    shown = domain.domain_str if categories is None else json.dumps(_described(list(categories)))
    how = "" if domain.sampler is None else f", {domain.sampler!r}"
    return ADDRESS.sub("", f"<{type(domain).__name__} {shown}{how}>")


def _plugin(plugin: Any) -> Any:
    """Return a searcher, scheduler or stop rule as data: its class, and what it was made with as far as it tells."""
    if isinstance(plugin, (list, tuple)):
        return [_plugin(one) for one in plugin]
    if inspect.isroutine(plugin):
        return f"function {plugin.__qualname__}"
    if not isinstance(plugin, _PLUGINS):
        return _described(plugin)
    if not type(plugin).__module__.startswith(_OURS):
        return _as_made(plugin)
    made_with = {}
    for name in _made_with(plugin):
        value = getattr(plugin, name)
        if _is_telling(value):
            made_with[name.lstrip("_")] = _plugin(value)
    return {type(plugin).__name__: made_with}


def _as_made(plugin: Any) -> Data:
    """Return a user's own plugin as data: all that its constructor left in it, under whatever names.

    What it keeps of an argument and what it remembers of rows look alike, so it is looked at once, before it is used.
    """
    known = _AS_MADE.get(id(plugin))
    if known is None:
        made_with: Data = {}
        known = _AS_MADE[id(plugin)] = {type(plugin).__name__: made_with}  # also where it is a part of itself
        weakref.finalize(plugin, _AS_MADE.pop, id(plugin), None)
        for name, value in vars(plugin).items():
            if name.lstrip("_") not in _SET_LATER and not _is_clock_reading(value):
                made_with[name.lstrip("_")] = _plugin(value)
    return known


def _is_clock_reading(value: object) -> bool:
    return isinstance(value, float) and 0 <= time.time() - value < _DAY_S


def _made_with(plugin: Any) -> Iterable[str]:
    """Return the attributes in which an object keeps what it was made with.

    Of our schedulers and stop rules, that is what it has but for what it remembers, and the plugins it is made of; of
    our searchers, what goes by the name of an argument. So it makes no difference whether the object has been used.
    """
    kept = vars(plugin)
    if isinstance(plugin, (TrialScheduler, Stopper)):
        remembered = {*(plugin.get_state() or ()), *_SET_LATER, *_DERIVED}
        return [name for name, value in kept.items() if name.lstrip("_") not in remembered or _has_plugins(value)]
    arguments = inspect.signature(type(plugin)).parameters
    return [name for name in kept if name.lstrip("_") in arguments and name.lstrip("_") not in _SET_LATER]


def _has_plugins(value: Any) -> bool:
    return isinstance(value, tuple) and any(isinstance(one, _PLUGINS) for one in value)


def _is_telling(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return bool(value) and all(_is_telling(one) for one in value)
    return isinstance(value, (int, float, str, Mapping, *_PLUGINS)) and value != {}


def _key(key: object) -> str:
    return unicode_text(str(key))


def _short(text: str) -> str:
    text = unicode_text(text)
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}... ({len(text)} characters, xxh3 {xxhash.xxh3_64_hexdigest(text.encode())})"


def _text(value: object) -> str:
    return "nothing" if value is None else value if isinstance(value, str) else json.dumps(value)
