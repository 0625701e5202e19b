from __future__ import annotations

import collections
import enum
import math
import os
import subprocess
import sys
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import JournalVersionError, MetricError, StorageError
from perdure.journal.values import dict_from_data, encode_config, from_data, has_objects, to_data

any_text = st.text(st.characters(), max_size=8)  # lone surrogates included
keys = st.one_of(
    any_text,
    st.sampled_from(["$float", "$map", "$py", "$", "a/b", "~", "#0"]),
    st.integers(),
    st.booleans(),
    st.none(),
    st.binary(max_size=4),
    st.tuples(st.integers(), any_text),
)
atoms = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**70), 2**70), st.floats(), any_text, st.binary(max_size=16)
)
values = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
    ),
    max_leaves=20,
)


def through_json(data: object) -> object:
    return msgspec.json.decode(msgspec.json.encode(data))


def same(left: object, right: object) -> bool:
    """Equal in value and in type, at every level; NaN is NaN, and -0.0 is not 0.0."""
    if type(left) is not type(right):
        return False
    match left:
        case float():
            assert isinstance(right, float)
            return (math.isnan(left) and math.isnan(right)) or (
                left == right and math.copysign(1, left) == math.copysign(1, right)
            )
        case list() | tuple():
            return len(left) == len(right) and all(map(same, left, right))  # type: ignore[arg-type]
        case dict():
            return len(left) == len(right) and all(  # order counts
                same(a, b) and same(x, y)
                for (a, x), (b, y) in zip(left.items(), right.items(), strict=True)  # type: ignore[attr-defined]
            )
        case _:
            return left == right


@given(values)
def test_any_data_comes_back_as_it_was(value: object) -> None:
    assert same(from_data(through_json(to_data(value))), value)


@given(st.dictionaries(any_text, values, max_size=5))
def test_a_configuration_of_data_comes_back_without_objects(config: dict[str, object]) -> None:
    data, objects = encode_config(config)
    assert objects == {}
    assert not has_objects(data)
    assert same(dict_from_data(through_json(data), {}), config)  # type: ignore[arg-type]


class Thing:
    """Not data."""


configs_with_objects = st.recursive(
    st.one_of(atoms, st.builds(Thing), st.sampled_from([Thing, len, frozenset({1})])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.lists(inner, max_size=3).map(tuple), st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(any_text, configs_with_objects, max_size=4))
def test_objects_come_back_in_their_places(config: dict[str, object]) -> None:
    data, objects = encode_config(config)
    assert has_objects(data) == bool(objects)
    assert same(dict_from_data(through_json(data), objects), config)  # type: ignore[arg-type]


def test_a_plain_row_is_not_copied() -> None:
    row = {"loss": 0.1, "epoch": 3, "phase": "train", "done": False, "note": None}
    assert to_data(row) is row


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (math.nan, {"$float": "nan"}),
        (math.inf, {"$float": "inf"}),
        (-math.inf, {"$float": "-inf"}),
        ((1, (2,)), {"$tuple": [1, {"$tuple": [2]}]}),
        ({1: "a"}, {"$map": [[1, "a"]]}),
        ({"$x": 1}, {"$map": [["$x", 1]]}),
        (b"\x00\xff", {"$bytes": "AP8="}),
        (2**64, {"$int": "0x10000000000000000"}),
    ],
)
def test_what_json_lacks_is_tagged(value: object, data: object) -> None:
    assert to_data(value) == data


class Phase(str, enum.Enum):
    TRAIN = "train"


class Level(enum.IntEnum):
    LOW = 1


class Pair(NamedTuple):
    a: int
    b: int


@pytest.mark.parametrize(
    ("value", "back"),
    [
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.float64("nan"), math.nan),
        (np.int64(7), 7),
        (np.uint8(7), 7),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.array(3), 3),
        (np.array([[1.0, 2.0]]), [[1.0, 2.0]]),
        (np.array([math.inf]), [math.inf]),
        (np.zeros(64), [0.0] * 64),
        (np.array([1, "a", None], dtype=object), [1, "a", None]),
        (Phase.TRAIN, "train"),
        (Level.LOW, 1),
        (Pair(1, 2), (1, 2)),
        (collections.OrderedDict(a=1), {"a": 1}),
        ({Phase.TRAIN: 1}, {"train": 1}),
        (bytearray(b"x"), b"x"),
    ],
)
def test_metrics_become_plain_values(value: object, back: object) -> None:
    assert same(from_data(through_json(to_data({"m": value}))), {"m": back})


class Tensor:
    """Has the shape of torch's: not a numpy class, but with `shape` and `tolist`."""

    def __init__(self, shape: tuple[int, ...], held: object) -> None:
        self.shape = shape
        self._held = held

    def tolist(self) -> object:
        return self._held


class EagerTensor:
    """Has the shape of TensorFlow's: no `tolist`, but `numpy()`."""

    shape = ()

    def numpy(self) -> np.float32:
        return np.float32(0.25)


def test_tensors_of_other_libraries_become_numbers() -> None:
    assert to_data({"a": Tensor((), 0.5), "b": Tensor((2,), [1, 2]), "c": EagerTensor()}) == {
        "a": 0.5,
        "b": [1, 2],
        "c": 0.25,
    }


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"grad": {"hist": np.zeros(65)}}, r'"grad/hist" is an array of shape \(65,\).*checkpoint'),
        ({"x": [1, Thing()]}, r'"x/1" is of type .*Thing, which is not data'),
        ({"x": {1, 2}}, '"x" is of type set'),
        ({"x": 1j}, '"x" is of type complex'),
        ({"x": np.complex128(1j)}, '"x" is of type numpy.complex128'),
        ({"x": np.datetime64("2020-01-01")}, '"x" is of type numpy.datetime64'),
        ({frozenset(): 1}, "as a key.*frozenset"),
        ({"f": len}, '"f" is of type builtin_function'),
    ],
)
def test_what_is_not_data_is_refused_by_name(row: object, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        to_data(row)


def test_a_list_that_holds_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(MetricError, match="holds itself"):
        to_data({"loop": loop})


def test_where_begins_the_message() -> None:
    with pytest.raises(MetricError, match=r"^result of step\(\): "):
        to_data({"x": object()}, "result of step()")


def test_config_leaves_that_are_no_data_are_named_by_path() -> None:
    config = {"model": {"opt": Thing, "lr": np.float64(0.1)}, "a/b": [Thing], "phase": Phase.TRAIN}
    data, objects = encode_config(config)
    assert sorted(objects) == ["a~1b/0", "model/opt", "phase"]
    assert data["model"] == {"opt": {"$py": repr(Thing)}, "lr": 0.1}
    assert objects["phase"] is Phase.TRAIN


def test_an_array_in_a_config_stays_an_array() -> None:
    array = np.arange(3)
    data, objects = encode_config({"w": array})
    assert dict_from_data(data, objects)["w"] is array


def test_without_objects_a_leaf_is_shown_as_its_repr() -> None:
    data, _ = encode_config({"f": len})
    assert from_data(data) == {"f": repr(len)}


def test_a_leaf_that_params_pkl_lacks_is_named() -> None:
    data, _ = encode_config({"model": {"f": len}})
    with pytest.raises(StorageError, match="model/f"):
        dict_from_data(data, {})


def test_an_unknown_tag_is_from_a_newer_version() -> None:
    with pytest.raises(JournalVersionError, match=r"\$quaternion"):
        from_data({"x": {"$quaternion": []}})


def test_a_leaf_whose_repr_fails_is_still_encoded() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    data, objects = encode_config({"x": Broken()})
    assert isinstance(objects["x"], Broken)
    assert "Broken" in str(data["x"])


def test_values_never_import_numpy() -> None:
    program = "import sys, perdure.journal.values as v; v.to_data({'x': (1, b'')}); sys.exit('numpy' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], check=False, env=environment).returncode == 0
