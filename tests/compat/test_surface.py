"""perdure's public surface against the one introspected from Ray Tune's wheel (see generate_table.py)."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import json
import pathlib
import re

import pytest

from perdure.compatibility import SURFACE, Row, Status, offered, resolve

HERE = pathlib.Path(__file__).parent
RAY = json.loads((HERE / "ray_tune_2_60.json").read_text())["modules"]
OURS = {name.removeprefix("ray."): rows for name, rows in RAY.items()}


SENTINEL = "<object>"
"""A default that only says "not given"."""


def rows(*statuses: Status) -> list:
    return [
        pytest.param(module, name, row, id=f"{module}.{name}")
        for module, names in SURFACE.items()
        for name, row in names.items()
        if row.status in statuses
    ]


# `train.*` of Ray 2.60 belongs to Ray Train alone; scripts that tune mean what these names meant inside Tune, so
# `train.X` has the signature of `tune.X`.
TRAIN_IS_TUNE = {"TrainContext": "TuneContext"}


def theirs(module: str, name: str) -> dict | None:
    if module == "train":
        return OURS["tune"].get(TRAIN_IS_TUNE.get(name, name))
    return OURS[module].get(name)


def comparable(exempt: str, kinds: tuple[str, ...]) -> list:
    """Each offered object once, with Ray's description of it."""
    found = {}
    for module, names in SURFACE.items():
        for name, row in names.items():
            ray = theirs(module, name) if row.status in (Status.SAME, Status.IGNORED) else None
            if ray and ray["kind"] in kinds and ray["parameters"] is not None and exempt not in row.without:
                found.setdefault(row.home, pytest.param(ray, row, id=f"{module}.{name}"))
    return list(found.values())


CALLABLES = comparable("()", ("class", "function"))
CLASSES = comparable("*", ("class",))


def defaults(parameters: list[dict[str, str]]) -> dict[str, str | None]:
    named = [p for p in parameters if not p["kind"].startswith("var_")]
    return {p["name"]: p.get("default") for p in named}


def our_parameters(value: object) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(value).parameters)  # type: ignore[arg-type]


def our_default(parameter: inspect.Parameter) -> str | None:
    if parameter.default is inspect.Parameter.empty:
        return None
    if type(parameter.default).__name__ == "_HAS_DEFAULT_FACTORY_CLASS":
        return "<factory>"
    return repr(parameter.default)


def test_every_name_of_rays_has_a_row_and_no_row_is_invented() -> None:
    public = {(module, name) for module, names in OURS.items() for name in names}
    table = {(m, n) for m, names in SURFACE.items() for n, row in names.items() if row.status is not Status.OURS}
    aliases = {("tune.schedulers", "create_scheduler"), ("tune.search", "create_searcher")}
    assert public - table == set()
    assert table - public <= aliases


@pytest.mark.parametrize(("module", "name", "row"), rows(Status.SAME, Status.IGNORED, Status.OURS))
def test_an_offered_name_resolves(module: str, name: str, row: Row) -> None:
    home = importlib.import_module(f"perdure.{module}")
    if row.extra and importlib.util.find_spec(row.extra) is None:
        with pytest.raises(ImportError, match=re.escape(f"pip install 'perdure[{row.extra}]'")):
            getattr(home, name)
        return
    assert getattr(home, name) is resolve(row)


@pytest.mark.parametrize(("ray", "row"), CALLABLES)
def test_parameters_and_defaults_are_rays(ray: dict, row: Row) -> None:
    ours = our_parameters(resolve(row))
    wrong = []
    for parameter, default in defaults(ray["parameters"]).items():
        if parameter in row.without:
            continue
        if parameter not in ours:
            wrong.append(f"{parameter} is missing")
        elif default != SENTINEL and our_default(ours[parameter]) != default:
            wrong.append(f"{parameter}={our_default(ours[parameter])}, Ray's is {default}")
    assert wrong == []


@pytest.mark.parametrize(("ray", "row"), CALLABLES)
def test_positional_order_is_rays(ray: dict, row: Row) -> None:
    positional = [p["name"] for p in ray["parameters"] if p["kind"].startswith("positional")]
    positional = [name for name in positional if name not in row.without]
    ours = [p.name for p in our_parameters(resolve(row)).values() if p.kind is not p.KEYWORD_ONLY]
    assert [name for name in ours if name in positional] == positional


@pytest.mark.parametrize(("ray", "row"), CLASSES)
def test_members_of_classes_are_there(ray: dict, row: Row) -> None:
    ours = resolve(row)
    fields = {f.name for f in dataclasses.fields(ours)} if dataclasses.is_dataclass(ours) else set()
    missing = {m for m in ray["members"] if not hasattr(ours, m)} - fields - set(row.without)
    assert missing == set()


@pytest.mark.parametrize(("ray", "row"), CLASSES)
def test_method_parameters_are_rays(ray: dict, row: Row) -> None:
    ours = resolve(row)
    wrong = []
    for member, description in ray["members"].items():
        method = getattr(ours, member, None)
        if description["kind"] != "method" or member in row.without or not callable(method) or inspect.isclass(method):
            continue
        have = our_parameters(method)
        if any(p.kind is p.VAR_KEYWORD for p in have.values()):
            continue
        for parameter, default in defaults(description["parameters"] or []).items():
            if f"{member}.{parameter}" in row.without:
                continue
            if parameter not in have:
                wrong.append(f"{member}({parameter}) is missing")
            elif default != SENTINEL and our_default(have[parameter]) != default:
                wrong.append(f"{member}({parameter}={our_default(have[parameter])}), Ray's default is {default}")
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (module, name, row["value"])
        for module, names in OURS.items()
        for name, row in names.items()
        if row["kind"] == "constant" and SURFACE[module][name].offered
    ],
)
def test_constants_have_rays_values(module: str, name: str, value: str) -> None:
    assert resolve(SURFACE[module][name]) == ast.literal_eval(value)


@pytest.mark.parametrize(("module", "name", "row"), rows(Status.PLANNED, Status.NOT_OFFERED))
def test_a_name_that_is_not_offered_says_what_to_use(module: str, name: str, row: Row) -> None:
    assert row.note.endswith(".")
    parent = importlib.import_module(f"perdure.{module}")
    with pytest.raises(AttributeError) as attribute:
        getattr(parent, name)
    with pytest.raises(ImportError) as imported:
        exec(f"from perdure.{module} import {name}", {})
    assert row.note in str(attribute.value)
    assert row.note in str(imported.value)
    assert not hasattr(parent, name)


@pytest.mark.parametrize("module", SURFACE)
def test_all_lists_what_is_offered(module: str) -> None:
    loaded = importlib.import_module(f"perdure.{module}")
    if module == "tune.result":
        assert set(offered(f"perdure.{module}")) == {n for n in vars(loaded) if n.isupper()} - {"TYPE_CHECKING"}
        return
    assert sorted(loaded.__all__) == offered(f"perdure.{module}")
    assert set(loaded.__all__) <= set(dir(loaded))


def test_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    """The imports under TYPE_CHECKING, which nothing executes, against the table."""
    for module, names in SURFACE.items():
        if module == "tune.result":
            continue
        path = pathlib.Path(importlib.import_module(f"perdure.{module}").__file__ or "")
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        seen = {
            alias.asname or alias.name: f"{node.module}:{alias.name}"
            for node in imports
            for alias in node.names
            if node.module not in ("__future__", "typing", "perdure.compatibility", f"perdure.{module}")
        }
        assert seen == {name: row.home for name, row in names.items() if row.offered}, module


def test_train_and_tune_spellings_are_the_same_objects() -> None:
    from perdure import train, tune

    for name in ("Checkpoint", "CheckpointConfig", "FailureConfig", "RunConfig", "report", "get_checkpoint"):
        assert getattr(train, name) is getattr(tune, name)


def test_the_migration_guide_is_up_to_date() -> None:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("write_migration_guide", HERE / "write_migration_guide.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    guide = HERE.parents[1] / "docs" / "migrating-from-ray-tune.md"
    assert guide.read_text(encoding="utf-8") == module.render(), "run `make docs`"
