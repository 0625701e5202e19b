"""Hyperopt's tree of Parzen estimators.

Bergstra, Bardenet, Bengio, Kégl: "Algorithms for Hyper-Parameter Optimization" (NeurIPS 2011).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from perdure.arguments import named_arguments
from perdure.errors import ConfigurationError
from perdure.search_space.parameters import Choice, Parameter, ParameterSpace, Real, Whole
from perdure.searchers.base import HINTS, OLDER
from perdure.searchers.library import THEIRS, Asked, LibrarySearcher, NativeSpace, Objectives, Raws, SearchedSpace

if TYPE_CHECKING:
    from hyperopt.pyll.base import Apply


@named_arguments(OLDER, HINTS)
class HyperOptSearch(LibrarySearcher):
    """Searches with Hyperopt's TPE; parts of the space that come with one category of a `choice` are its conditions.

    A trial that fails, or whose metric is not finite, is a failed one to Hyperopt.

    Args:
        space: A space of perdure's domains, or of Hyperopt's `hp` expressions; None takes the Tuner's `param_space`.
        metric: What is optimised.
        mode: "min" or "max".
        points_to_evaluate: Configurations to try first; for a space of `hp` expressions, by label.
        n_initial_points: So many draws at random come first; None is 20.
        random_state_seed: Makes the search reproducible; None follows `TuneConfig(seed=...)`.
        gamma: The share of the best configurations that TPE models apart, from 0 to 1; None is 0.25.

    Raises:
        ModuleNotFoundError: Hyperopt is not installed.
    """

    modules = ("hyperopt",)
    extra = "hyperopt"

    def __init__(
        self,
        space: Mapping[str, Any] | Apply | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        n_initial_points: int | None = 20,
        random_state_seed: int | None = None,
        gamma: float | None = 0.25,
    ) -> None:
        super().__init__(space, metric, mode, points_to_evaluate, random_state_seed)
        self._n_initial_points = 20 if n_initial_points is None else n_initial_points
        self._gamma = 0.25 if gamma is None else gamma
        self._domain: Any = None
        self._algorithm: Any = None

    def _own_space(self, space: Any) -> SearchedSpace:
        from hyperopt.pyll.base import Apply, as_apply, dfs

        found = [node for node in dfs(as_apply(space)) if node.name == "hyperopt_param"]
        if not found:
            return self._tree_space(space)
        if not isinstance(space, (dict, Apply)):
            raise ConfigurationError(f"HyperOptSearch(space={space!r}): give a dict of hp expressions.")
        return _Labels(space, sorted({node.arg["label"].obj for node in found}), _choices(dfs(as_apply(space))))

    def _begin(self) -> None:
        import hyperopt
        from hyperopt.base import Domain

        expression = self._given_space if isinstance(self._space, _Labels) else _expression(self.parameters, None)
        self._domain = Domain(_identity, expression)
        self._algorithm = functools.partial(
            hyperopt.tpe.suggest, n_startup_jobs=self._n_initial_points, gamma=self._gamma, verbose=False
        )
        self._memory = hyperopt.Trials()

    def _ask(self, trial_id: str) -> Asked:
        numbers = self._memory.new_trial_ids(1)
        self._memory.refresh()
        document = self._algorithm(numbers, self._domain, self._memory, self.draw_seed)[0]
        labels = document["misc"]["vals"]
        return self._enter(document, {label: values[0] for label, values in labels.items() if len(values)})

    def _impose(self, trial_id: str, raws: Raws) -> Asked:
        (number,) = self._memory.new_trial_ids(1)
        given = {name: [raw] for name, raw in raws.items() if self._is_active(name, raws)}
        labels = self._domain.params
        misc = {
            "tid": number,
            "cmd": self._domain.cmd,
            "workdir": self._domain.workdir,
            "idxs": {label: [number] if label in given else [] for label in labels},
            "vals": {label: given.get(label, []) for label in labels},
        }
        (document,) = self._memory.new_trial_docs([number], [None], [{"status": "new"}], [misc])
        return self._enter(document, {label: values[0] for label, values in given.items()})

    def _tell(self, asked: Asked, objectives: Objectives | None) -> None:
        import hyperopt

        failed = objectives is None
        asked.handle["state"] = hyperopt.JOB_STATE_ERROR if failed else hyperopt.JOB_STATE_DONE
        asked.handle["result"] = (
            {"status": hyperopt.STATUS_FAIL}
            if objectives is None
            else {"loss": self.loss(objectives), "status": hyperopt.STATUS_OK}
        )
        self._memory.refresh()

    def _enter(self, document: Any, found: Mapping[str, Any]) -> Asked:
        self._memory.insert_trial_docs([document])
        self._memory.refresh()
        kept = self._memory._dynamic_trials[-1]  # noqa: SLF001 - the copy that it looks at
        return Asked(raws={label: self._from_hyperopt(label, value) for label, value in found.items()}, handle=kept)

    def _is_active(self, name: str, raws: Raws) -> bool:
        return not isinstance(self._space, ParameterSpace) or name in {one.name for one in self._space.active(raws)}

    def _from_hyperopt(self, name: str, value: Any) -> Any:
        if not isinstance(self._space, ParameterSpace):
            return value.item() if hasattr(value, "item") else value
        return self._space.by_name[name].kind.clip(value)


class _Labels(NativeSpace):
    """A space of `hp` expressions: what a label stands for is found out by evaluating them."""

    def __init__(self, expression: Any, names: Sequence[str], choices: Mapping[str, Sequence[Any]]) -> None:
        super().__init__(names)
        self._expression = expression
        self._choices = choices

    @property
    def tree(self) -> Any:
        """The labels, and the keys of the expression, under which people may look for them."""
        keys = self._expression if isinstance(self._expression, dict) else ()
        return dict.fromkeys([*keys, *(self.names or ())], THEIRS)

    def build(self, raws: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the expressions give."""
        from hyperopt import space_eval

        built = space_eval(self._expression, dict(raws))
        if not isinstance(built, dict):
            raise ConfigurationError(f"The space of HyperOptSearch gives {built!r}; it must give a dict.")
        return built

    def read(self, config: Any, like: Mapping[str, Any] | None = None, *, partial: bool = False) -> Raws:
        """Return the labels' values: those in `like`, if they give `config`; else `config` itself by label."""
        if like is not None:
            if _agrees(self.build(like), config):
                return dict(like)
            raise ConfigurationError("other labels would give that configuration")
        given = {name: config[name] for name in self.names or () if isinstance(config, Mapping) and name in config}
        return {name: self._number(name, value) for name, value in given.items()}

    def _number(self, name: str, value: Any) -> Any:
        """Return `value`, or of a choice the number of the option that it is; or it is such a number."""
        options = self._choices.get(name)
        if options is None:
            return value
        same = [number for number, option in enumerate(options) if option is value or _equal(option, value)]
        same = same or [number for number, option in enumerate(options) if option == value]
        if same or (isinstance(value, int) and 0 <= value < len(options)):
            return same[0] if same else value
        raise ConfigurationError(f"The value {value!r} of {name!r} is none of its options {list(options)!r}.")

    def complete(self, raws: Mapping[str, Any], draw: Any) -> Raws:
        """Return `raws`, of which none may be missing; which are needed depends on the choices among them."""
        from hyperopt.pyll.base import as_apply

        missing = sorted(set(_missing(as_apply(self._expression), raws)))
        if missing:
            raise ConfigurationError(f"There is no value for {', '.join(missing)}, which the searcher's space has.")
        return dict(raws)


class _Node:
    """An option that is no constant: it has parameters of its own."""

    def __repr__(self) -> str:
        return "(an expression)"


def _choices(nodes: Sequence[Any]) -> dict[str, list[Any]]:
    """Return the options of each choice among the nodes of an expression, by label."""
    return {
        node.pos_args[0].arg["label"].obj: [
            option.obj if option.name == "literal" else _Node() for option in node.pos_args[1:]
        ]
        for node in nodes
        if node.name == "switch" and node.pos_args and node.pos_args[0].name == "hyperopt_param"
    }


def _missing(node: Any, raws: Mapping[str, Any]) -> Iterator[str]:
    """Yield the labels that an expression needs with these values, and that are not among them."""
    if node.name == "hyperopt_param":
        if node.arg["label"].obj not in raws:
            yield node.arg["label"].obj
    elif node.name == "switch" and node.pos_args[0].name == "hyperopt_param":
        yield from _missing(node.pos_args[0], raws)
        chosen = raws.get(node.pos_args[0].arg["label"].obj)
        if chosen is not None:
            yield from _missing(node.pos_args[1 + chosen], raws)
    else:
        for below in node.inputs():
            yield from _missing(below, raws)


def _equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _agrees(built: Any, config: Any) -> bool:
    if isinstance(built, Mapping) and isinstance(config, Mapping):
        return all(key in config and _agrees(value, config[key]) for key, value in built.items())
    return bool(built == config)


def _expression(parameters: Sequence[Parameter], given: tuple[str, int] | None) -> dict[str, Any]:
    """Return the hp expressions of the parameters that come with a choice; what comes with them is inside."""
    return {one.name: _hp(one, parameters) for one in parameters if one.given == given}


def _hp(parameter: Parameter, parameters: Sequence[Parameter]) -> Any:
    from hyperopt import hp

    name, kind = parameter.name, parameter.kind
    match kind:
        case Real(log=True):
            return hp.loguniform(name, math.log(kind.low), math.log(kind.high))
        case Real():
            return hp.uniform(name, kind.low, kind.high)
        case Whole(log=True):  # half a step further on both sides, so that the ends are as likely as the others
            return hp.qloguniform(name, math.log(kind.low - 0.5), math.log(kind.high + 0.5), 1)
        case Whole():
            return hp.quniform(name, kind.low - 0.5, kind.high + 0.5, 1)
        case Choice():
            return hp.choice(name, [_expression(parameters, (name, number)) for number in range(kind.size)])


def _identity(config: Any) -> Any:
    return config
