"""A search space as a pure function: the same seed, sample and combination give the same configuration, always.

Every parameter is drawn from a generator of its own, seeded by the seed, the sample and the parameter's path. So
nothing depends on the order of draws, and no state is kept between configurations.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, NamedTuple

from perdure.arguments import a_kind
from perdure.errors import ConfigurationError
from perdure.search_space.domains import Domain, Function, as_domain, is_grid
from perdure.search_space.grids import combination, count, find_grids
from perdure.search_space.paths import INSIDE, Path, flatten, path_text
from perdure.search_space.randomness import seeded_globals

_ATOMS = (
    str, int, float, bool, complex, bytes, type(None), type, range, types.ModuleType,
    types.FunctionType, types.BuiltinFunctionType,
)  # fmt: skip


class Variant(NamedTuple):
    """One configuration of a space."""

    config: dict[str, Any]
    """Plain values; no part of it is shared with the space or with another variant."""
    searched: dict[str, Any]
    """The values of what was searched, flat, under "/"-joined keys; constants are not in it."""


class Space:
    """A `param_space`, checked once, from which configurations are made.

    Raises:
        ConfigurationError: it is no dict, a grid is empty, or a grid stands where values are drawn.
    """

    def __init__(self, tree: Mapping[str, Any]) -> None:
        if not isinstance(tree, Mapping):
            raise ConfigurationError(f"param_space must be a dict, not {a_kind(tree)}: {tree!r}.")
        self.tree = dict(tree)
        self._grids = find_grids(self.tree)
        self.grid_size = count(self._grids)
        for path, domain in unresolved(self.tree):
            _check_no_grid_inside(path, domain)
        self._drawn = _drawn_apart(self.tree)

    def variant(self, number: int, rng: Callable[[str], Random]) -> Variant:
        """Return combination `number` of the grids, everything else drawn.

        Args:
            number: 0 to `grid_size` - 1.
            rng: Gives the generator for a parameter, by its path.

        Raises:
            ConfigurationError: a function of the user's raised (its exception is the cause), or values depend on
                each other in a circle.
        """
        if self._drawn and number == 0:
            values = {name: domain.draw(rng(name)) for name, domain in self._drawn.items()}
            if all(isinstance(value, _ATOMS) for value in values.values()):  # else some are to be looked into
                return Variant({**self.tree, **values}, values)
        return _Resolution(self.tree, combination(self._grids, number), rng).variant()


class Fixed(Domain):
    """A parameter whose value is given: it counts as searched, and nothing is drawn."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def draw(self, rng: Any = None, config: Any = None) -> Any:
        """Return the value that was given."""
        return self.value

    def is_valid(self, value: Any) -> bool:
        """Whether `value` is the one that was given."""
        return bool(value == self.value)

    @property
    def domain_str(self) -> str:
        """The value as people read it."""
        return repr(self.value)


def unresolved(node: Any, path: Path = ()) -> Iterator[tuple[Path, Domain]]:
    """Yield every domain of a space, grids among them, with its path; not those inside the values of others."""
    domain = as_domain(node)
    if domain is not None:
        yield path, domain
    elif isinstance(node, dict):
        for key, child in node.items():
            yield from unresolved(child, (*path, key))
    elif isinstance(node, (list, tuple)):
        for index, child in enumerate(node):
            yield from unresolved(child, (*path, index))


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with what `over` has in its place; dicts are merged, but for those that are a domain."""
    new = dict(base)
    for key, value in over.items():
        below = new.get(key)
        both = isinstance(below, dict) and isinstance(value, Mapping) and as_domain(below) is None
        new[key] = merged(below, value) if both and isinstance(below, dict) else value
    return new


def plain_copy(value: Any) -> Any:
    """Return `value` with every dict, list and tuple made anew, and other objects copied where they can be."""
    return rebuild(value, (), lambda child, _: plain_copy(child))


def rebuild(node: Any, path: Path, child: Callable[[Any, Path], Any]) -> Any:
    """Return a new container like `node`, made of what `child` gives for its parts; of a leaf, a copy."""
    if isinstance(node, dict):
        items = {key: child(value, (*path, key)) for key, value in node.items()}
        if type(node) is dict:
            return items
        new = copy.copy(node)  # an OrderedDict, a defaultdict with its factory
        new.update(items)
        return new
    if isinstance(node, (list, tuple)):
        parts = [child(value, (*path, index)) for index, value in enumerate(node)]
        if type(node) is list:
            return parts
        return node._make(parts) if hasattr(node, "_make") else type(node)(parts)
    return _leaf_copy(node)


def _leaf_copy(leaf: Any) -> Any:
    if isinstance(leaf, _ATOMS):
        return leaf
    try:
        return copy.deepcopy(leaf)
    except Exception:  # a lock, a connection: it cannot be copied, and trials get it pickled or not at all
        return leaf


def _drawn_apart(tree: Mapping[str, Any]) -> dict[str, Domain]:
    """Return what is drawn in a space that has nothing else but constants, in order; nothing of any other space.

    Most spaces are so, and each value of them can be drawn as it stands there.
    """
    drawn: dict[str, Domain] = {}
    for name, node in tree.items():
        if isinstance(node, Domain) and isinstance(name, str) and not (node.is_grid() or node.is_function()):
            drawn[name] = node
        elif not isinstance(node, _ATOMS):
            return {}
    return dict(sorted(drawn.items()))


def _check_no_grid_inside(path: Path, domain: Domain) -> None:
    for value in getattr(domain, "categories", ()):
        for _, inner in unresolved(value):
            if inner.is_grid() and not domain.is_grid():
                raise ConfigurationError(
                    f"The values of {path_text(path)!r} are drawn at random, so the grid_search inside one of them "
                    "cannot be tried in full. Use choice() there, or make the outer one a grid_search."
                )
            _check_no_grid_inside(path, inner)


class _Resolution:
    """The making of one variant. A value is resolved when it is first asked for, by the walk or by a function."""

    def __init__(self, tree: dict[str, Any], chosen: dict[Path, Any], rng: Callable[[str], Random]) -> None:
        self._tree = tree
        self._chosen = chosen
        self._rng = rng
        self._resolved: dict[Path, Any] = {}
        self._open: list[Path] = []  # being resolved right now, outermost first
        self._searched: dict[str, Any] = {}

    def variant(self) -> Variant:
        config = self._build(self._tree, ())
        return Variant(config, dict(sorted(self._searched.items())))

    def show(self, node: Any, path: Path) -> Any:
        """Return what a function of the user's sees at `path`."""
        value = self._resolve(node, path) if as_domain(node) is not None else node
        if isinstance(value, dict):
            return ConfigView(self, value, path)
        return self._build(value, path)

    def _build(self, node: Any, path: Path) -> Any:
        if isinstance(node, _ATOMS):  # most parts of most spaces
            return node
        if as_domain(node) is not None:
            return self._resolve(node, path)
        if isinstance(node, ConfigView):
            node = node.plain()
        return rebuild(node, path, self._build)

    def _resolve(self, node: Any, path: Path) -> Any:
        if path in self._resolved:
            return self._resolved[path]
        if path in self._open:
            circle = [*self._open[self._open.index(path) :], path]
            raise ConfigurationError(
                f"Values depend on each other in a circle: {' -> '.join(map(path_text, circle))}. "
                "Have at least one of them drawn without the others."
            )
        self._open.append(path)
        value = self._value(node, path)
        self._open.pop()
        self._resolved[path] = value
        if path[-1:] != (INSIDE,):
            self._searched.update(flatten(value, path))
        return value

    def _value(self, node: Any, path: Path) -> Any:
        if is_grid(node):
            if path not in self._chosen:
                raise ConfigurationError(
                    f"{path_text(path)!r} was computed as a grid_search; which values there are must be known "
                    "beforehand. Return a choice() instead."
                )
            value = self._chosen[path]
        else:
            value = self._draw(node, path)
        inside = (*path, INSIDE) if as_domain(value) is not None else path
        return self._build(value, inside)

    def _draw(self, domain: Domain, path: Path) -> Any:
        rng = self._rng("/".join(map(str, path)))
        if not isinstance(domain, Function):
            return domain.draw(rng)
        try:
            with seeded_globals(rng.getrandbits(63)):
                return domain.draw(rng, ConfigView(self, self._tree, (), root=True))
        except ConfigurationError:
            raise
        except Exception as error:
            raise ConfigurationError(
                f"The sample_from function of {path_text(path)!r} raised {type(error).__name__}: {error}. "
                "It is called with the configuration; no trial was made from it."
            ) from error


class ConfigView(Mapping[str, Any]):
    """The configuration as a `sample_from` function sees it: values are resolved as they are read.

    Keys can be read as attributes too. `view.config` is the view itself, for functions written as
    `lambda spec: spec.config.units`.
    """

    def __init__(self, resolution: _Resolution, node: dict[str, Any], path: Path, *, root: bool = False) -> None:
        self._resolution = resolution
        self._node = node
        self._path = path
        self._root = root

    def __getitem__(self, key: str) -> Any:
        if key not in self._node and key == "config" and self._root:
            return self
        return self._resolution.show(self._node[key], (*self._path, key))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "config" and self._root:
            return self
        try:
            return self[name]
        except KeyError:
            known = ", ".join(map(str, self._node)) or "nothing"
            raise AttributeError(f"the configuration has no {name!r} (it has {known})") from None

    def __contains__(self, key: object) -> bool:
        return key in self._node  # without resolving it

    def __iter__(self) -> Iterator[str]:
        return iter(self._node)

    def __len__(self) -> int:
        return len(self._node)

    def copy(self) -> dict[str, Any]:
        """Return a plain dict of it, as `dict.copy` would."""
        return self.plain()

    def plain(self) -> dict[str, Any]:
        """Return it as plain dicts, all of it resolved."""
        return {key: value.plain() if isinstance(value, ConfigView) else value for key, value in self.items()}

    def __repr__(self) -> str:
        return f"<ConfigView of {', '.join(map(str, self._node))}>"
