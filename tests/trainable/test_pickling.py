"""A trainable goes to a file and comes back, in another process too."""

import functools
import os
import subprocess
import sys
import textwrap
import threading

import pytest

from perdure.errors import TrainableError
from perdure.trainable.base import Trainable, dump_trainable, load_trainable
from perdure.trainable.pickling import dump_objects, load_objects
from perdure.trainable.wrappers import resources_of, with_parameters, with_resources


def in_another_process(script, *arguments):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


LOAD_AND_CALL = """
import sys
from perdure.trainable.base import load_trainable
print(load_trainable(sys.argv[1])({"x": 3}))
"""


def test_what_was_defined_in_main_runs_in_another_process(tmp_path):
    in_another_process(
        """
        import sys
        from perdure.trainable.base import dump_trainable
        factor = 2
        def double(x): return factor * x
        def train(config): return {"y": double(config["x"])}
        dump_trainable(train, sys.argv[1])
        """,
        tmp_path / "trainable.pkl",
    )
    assert in_another_process(LOAD_AND_CALL, tmp_path / "trainable.pkl") == "{'y': 6}"


def test_the_digest_is_of_the_bytes_and_a_dump_replaces_the_file(tmp_path):
    path = tmp_path / "trainable.pkl"
    one, same, other = (dump_trainable(f, path) for f in (print, print, len))
    assert one == same != other
    assert load_trainable(path) is len
    assert os.listdir(tmp_path) == ["trainable.pkl"]


def test_closures_lambdas_partials_and_bound_methods_come_back(tmp_path):
    class Model:
        factor = 5

        def train(self, config):
            return config["x"] * self.factor

    y = 4
    for trainable in (
        lambda config: config["x"] * y,
        functools.partial(lambda config, z: config["x"] * z, z=4),
        Model().train,
    ):
        dump_trainable(trainable, tmp_path / "t.pkl")
        assert load_trainable(tmp_path / "t.pkl")({"x": 2}) in (8, 10)


# --- what cannot be pickled is named


def captured_directly():
    inner = threading.Lock()

    def train_func(config):
        with inner:
            return 1

    return train_func


def captured_in_an_object():
    class Helper:
        def __init__(self):
            self.guard = threading.Lock()

    helper = Helper()

    def train_func(config):
        return helper

    return train_func


def in_a_default():
    def train_func(config, guard=None):
        return 1

    train_func.__defaults__ = (threading.Lock(),)
    return train_func


def in_a_class():
    class Trains(Trainable):
        guards = {"first": threading.Lock()}

        def step(self):
            return {}

    return Trains


def in_a_partial():
    return functools.partial(lambda config, guard: 1, guard=threading.Lock())


def in_a_parameter():
    def train_func(config, guards):
        return 1

    return with_parameters(train_func, guards=[threading.Lock()])


def called_by_it():
    guard = threading.Lock()

    def deeper():
        return guard

    def train_func(config):
        return deeper()

    return train_func


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (captured_directly, "variable 'inner' captured by captured_directly.train_func"),
        (captured_in_an_object, "attribute 'guard' of variable 'helper' captured by"),
        (in_a_default, "default 0 of"),
        (in_a_class, "attribute 'guards' of in_a_class.Trains['first']"),
        (in_a_partial, "argument 'guard' of"),
        (in_a_parameter, "item 0 of parameter 'guards'"),
        (called_by_it, "variable 'guard' captured by variable 'deeper' captured by called_by_it.train_func"),
    ],
)
def test_the_leaf_that_cannot_be_pickled_is_named(tmp_path, make, named):
    with pytest.raises(TrainableError) as raised:
        dump_trainable(make(), tmp_path / "trainable.pkl")
    assert named in str(raised.value)
    assert "lock" in str(raised.value)
    assert os.listdir(tmp_path) == []


def test_the_leaf_of_a_config_that_cannot_be_pickled_is_named(tmp_path):
    with pytest.raises(TrainableError, match=r"config\['model/lock'\]: .*lock"):
        dump_objects({"fine": print, "model/lock": threading.Lock()}, tmp_path / "params.pkl")
    dump_objects({"fine": print}, tmp_path / "params.pkl")
    assert load_objects(tmp_path / "params.pkl") == {"fine": print}


def test_a_file_that_is_no_trainable_says_so(tmp_path):
    (tmp_path / "trainable.pkl").write_bytes(b"nonsense")
    with pytest.raises(TrainableError, match=r"trainable\.pkl"):
        load_trainable(tmp_path / "trainable.pkl")
    with pytest.raises(FileNotFoundError):
        load_trainable(tmp_path / "not there")


# --- large parameters: one file, mapped by all

MB = 1 << 20

MAPS = """
import sys
from perdure.trainable.base import load_trainable
trainable = load_trainable(sys.argv[1])
found = trainable({})
inodes = [line.split()[4] for line in open("/proc/self/maps") if "parameter-data-" in line]
print(found, *inodes)
"""


@pytest.fixture
def numpy():
    return pytest.importorskip("numpy")


@pytest.fixture
def dumped(tmp_path, numpy):
    data = {"images": numpy.ones((4, MB), dtype=numpy.uint8), "labels": list(range(10))}
    namespace = {}
    exec("def train(config, data): return int(data['images'].sum()) + len(data['labels'])", namespace)
    trainable = with_parameters(namespace["train"], data=data)
    dump_trainable(trainable, tmp_path / "trainable.pkl")
    return tmp_path


def test_a_large_parameter_lies_once_beside_a_small_pickle(dumped):
    sizes = {path.name.split("-")[0]: path.stat().st_size for path in dumped.iterdir()}
    assert sorted(sizes) == ["parameter", "trainable.pkl"]
    assert sizes["trainable.pkl"] < 10_000
    assert 4 * MB < sizes["parameter"] < 4 * MB + 20_000


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="reads the kernel's list of mappings")
def test_two_processes_map_the_same_file(dumped):
    first, second = (in_another_process(MAPS, dumped / "trainable.pkl").split() for _ in range(2))
    (path,) = dumped.glob("parameter-*")
    assert first[0] == second[0] == str(4 * MB + 10)
    assert set(first[1:]) == set(second[1:]) == {str(path.stat().st_ino)}


def test_a_trial_that_writes_to_it_changes_only_its_own(dumped):
    script = """
    import sys
    from perdure.trainable.base import load_trainable
    trainable = load_trainable(sys.argv[1])
    trainable.parameters[0].value["images"][:] = 0
    print(trainable({}))
    """
    assert in_another_process(script, dumped / "trainable.pkl") == "10"
    assert load_trainable(dumped / "trainable.pkl")({}) == 4 * MB + 10


def test_what_was_loaded_can_be_dumped_again_elsewhere(dumped, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    dump_trainable(load_trainable(dumped / "trainable.pkl"), elsewhere / "trainable.pkl")
    assert {p.name for p in dumped.glob("parameter*")} == {p.name for p in elsewhere.glob("parameter*")}
    assert load_trainable(elsewhere / "trainable.pkl")({}) == 4 * MB + 10


def test_the_directory_may_be_moved(dumped, tmp_path_factory):
    new = tmp_path_factory.mktemp("new") / "place"
    dumped.rename(new)
    assert load_trainable(new / "trainable.pkl")({}) == 4 * MB + 10
    new.rename(dumped)


def test_a_parameter_whose_file_was_cut_or_lost_is_named(dumped):
    (path,) = dumped.glob("parameter-*")
    os.truncate(path, MB)
    with pytest.raises(TrainableError, match=r"'data'.*bytes instead of"):
        load_trainable(dumped / "trainable.pkl")
    path.unlink()
    with pytest.raises(TrainableError, match=r"'data'.*with_parameters"):
        load_trainable(dumped / "trainable.pkl")


def test_arrays_of_every_layout_come_back_equal(tmp_path, numpy):
    arrays = {
        "plain": numpy.arange(10.0),
        "strided": numpy.arange(20)[::2],
        "fortran": numpy.asfortranarray(numpy.arange(6).reshape(2, 3)),
        "empty": numpy.empty((0, 3)),
        "objects": numpy.array([None, "x"], dtype=object),
        "fixed": numpy.arange(3),
    }
    arrays["fixed"].flags.writeable = False
    trainable = with_parameters(lambda config, arrays: arrays, arrays=arrays)
    dump_trainable(trainable, tmp_path / "trainable.pkl")
    back = load_trainable(tmp_path / "trainable.pkl")({})
    for name, array in arrays.items():
        numpy.testing.assert_array_equal(back[name], array)
        assert back[name].flags.writeable == array.flags.writeable


def test_a_class_with_parameters_and_resources_comes_back(tmp_path):
    class Trains(Trainable):
        def setup(self, config, start):
            self.n = start

        def step(self):
            return {"n": self.n}

    class_ = with_resources(with_parameters(Trains, start=41), {"cpu": 2})
    dump_trainable(class_, tmp_path / "trainable.pkl")
    back = load_trainable(tmp_path / "trainable.pkl")
    assert back(config={}).train()["n"] == 41
    assert resources_of(back, {}) == {"CPU": 2.0}
    assert len(list(tmp_path.glob("parameter-start-*"))) == 1


def test_what_is_pickled_by_value_still_knows_its_file(tmp_path):
    """A traceback shows the user's file and line."""

    def local(config):
        return config

    dump_trainable(local, tmp_path / "trainable.pkl")
    dump_objects({"f": local}, tmp_path / "params.pkl")
    for loaded in (load_trainable(tmp_path / "trainable.pkl"), load_objects(tmp_path / "params.pkl")["f"]):
        assert loaded is not local
        assert loaded.__code__.co_filename == __file__
        assert loaded.__code__.co_firstlineno == local.__code__.co_firstlineno
