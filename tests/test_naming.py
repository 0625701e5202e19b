import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import ConfigurationError
from perdure.naming import Namer, experiment_tag, safe_filename, trial_id
from perdure.trial_view import TrialView

WINDOWS_REFUSES = re.compile(r'[\x00-\x1f<>:"/\\|?*]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)
NOON = 1_700_000_000.0


def view(namer, number, searched):
    trial = TrialView(trial_id=namer.trial_id(number), trial_name="", number=number, config=searched)
    trial.experiment_tag = namer.tag(number, searched)
    trial.trial_name = namer.name(trial)
    return trial


def directory(namer, number=3, searched=None):
    return namer.directory(view(namer, number, searched or {}))


def make(trainable="train", **options):
    return Namer(trainable=trainable, token="a1b2c", clock=lambda: NOON, **options)


def test_ids_number_the_trials_of_an_experiment():
    assert trial_id("a1b2c", 0) == "a1b2c_00000"
    assert trial_id("a1b2c", 99_999) == "a1b2c_99999"
    assert trial_id("a1b2c", 100_000) == "a1b2c_100000"
    assert re.fullmatch(r"[0-9a-f]{5}_00007", Namer(trainable="train").trial_id(7))


def test_a_restored_experiment_goes_on_with_its_ids_and_seeds():
    first = Namer(trainable="train")
    restored = Namer(trainable="train", token=first.trial_id(12))
    assert restored.trial_id(13) == first.trial_id(13)
    assert restored.seed(13) == first.seed(13)
    assert restored.search_seed == first.search_seed


def test_each_trial_has_a_seed_of_its_own():
    namer = make(seed=1)
    assert namer.search_seed == 1
    assert len({namer.seed(number) for number in range(100)}) == 100
    assert all(0 <= namer.seed(number) < 2**31 for number in range(100))
    assert make(seed=1).seed(5) == namer.seed(5) != make(seed=2).seed(5)


@pytest.mark.parametrize(
    ("searched", "tag"),
    [
        ({"lr": 0.1, "units": 32}, "3_lr=0.1000,units=32"),
        ({"units": 32, "lr": 0.1}, "3_lr=0.1000,units=32"),
        ({}, "3"),
        ({"n/opt/lr": 1e-5}, "3_lr=1.000e-05"),
        ({"x": 0.0, "y": -2.5, "z": 1e300}, "3_x=0.0000,y=-2.5000,z=1.000e+300"),
        ({"f": dict, "g": len}, "3_f=dict,g=len"),
        ({"s": "a b/c:d", "l": [1, 2]}, "3_l=1_2,s=a_b_c_d"),
        ({"o": {"k": 1, "m": {"z": True}}}, "3_k=1,z=True"),
        ({"n": None, "nan": float("nan")}, "3_n=None,nan=nan"),
    ],
)
def test_a_tag_says_what_was_searched(searched, tag):
    assert experiment_tag(3, searched) == tag


def test_names_and_directories():
    namer = make()
    trial = view(namer, 3, {"lr": 0.1, "units": 32})
    assert trial.trial_name == "train_a1b2c_00003"
    assert re.fullmatch(
        r"train_a1b2c_00003_3_lr=0.1000,units=32_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", namer.directory(trial)
    )


def test_parameters_that_do_not_fit_are_left_out_whole():
    searched = {"a": "x" * 10, "batch_size": 128, "long": "y" * 40, "units": 32}
    name = directory(make("a_very_long_name_of_a_training_function"), 3, searched)
    assert name == "a_very_long_a1b2c_00003_3_a=xxxxxxxxxx,batch_size=128,units=32"
    assert len(name) <= 64


def test_nested_parameters_are_named_by_their_last_key():
    name = directory(make(), 3, {"opt": {"lr": 0.1, "name": "adam"}, "seed": 1})
    assert name.startswith("train_a1b2c_00003_3_lr=0.1000,name=adam,seed=1")


@pytest.mark.parametrize(
    ("trainable", "name"),
    [
        ("train", r"train_a1b2c_00003_3_lr=0.1000,name=adam_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d"),
        ("train_digits", r"train_digits_a1b2c_00003_3_lr=0.1000,name=adam_\d{4}-\d\d-\d\d"),
        ("train_a_very_long_name", r"train_a_very_long_n_a1b2c_00003_3_lr=0.1000,name=adam_\d{4}-\d\d-\d\d"),
    ],
)
def test_the_date_gives_way_to_what_was_searched(trainable, name):
    assert re.fullmatch(name, directory(make(trainable), 3, {"opt/lr": 0.1, "opt/name": "adam"}))


def test_the_day_gives_way_too():
    searched = {"lr": 0.001, "model/layers": 3, "model/units": 64}
    assert directory(make("train_digits"), 3, searched) == "train_digits_a1b2c_00003_3_lr=0.0010,layers=3,units=64"


SEARCHED = st.dictionaries(
    st.text(min_size=1, max_size=20),
    st.one_of(st.floats(), st.integers(), st.text(max_size=30), st.none(), st.lists(st.integers(), max_size=9)),
    max_size=6,
)


@given(trainable=st.text(max_size=80), number=st.integers(0, 10**7), searched=SEARCHED)
def test_every_directory_name_is_short_and_legal_everywhere(trainable, number, searched):
    name = directory(make(trainable), number, searched)
    assert 0 < len(name) <= 64
    assert not WINDOWS_REFUSES.search(name)
    assert name.isascii()
    assert trial_id("a1b2c", number) in name


@given(st.text(min_size=1, max_size=100))
def test_safe_filenames_are_legal_everywhere(name):
    safe = safe_filename(name)
    assert safe not in ("", ".", "..")
    assert not WINDOWS_REFUSES.search(safe)
    assert safe_filename(safe) == safe


@pytest.mark.parametrize("name", ["CON", "nul.txt", "com1", "...", " ", "a.", "x:y", "LPT9.log"])
def test_names_that_windows_keeps_for_itself(name):
    assert not WINDOWS_REFUSES.search(safe_filename(name))


# --- the user's own names ---------------------------------------------------------------------------------------------


def test_the_users_names_are_used():
    namer = make(
        trial_name_creator=lambda trial: f"mine-{trial.config['lr']}",
        trial_dirname_creator=lambda trial: f"{trial.trainable_name}run {trial.trial_id}",
    )
    trial = view(namer, 3, {"lr": 0.5})
    assert trial.trial_name == "mine-0.5"
    assert namer.directory(trial) == "run a1b2c_00003"


def test_a_users_trial_name_is_in_the_directory():
    name = directory(make(trial_name_creator=lambda trial: "my: trial"), 3, {"lr": 0.5})
    assert name.startswith("my_trial_3_lr=0.5000_")


def test_two_trials_never_share_a_directory():
    namer = make(trial_dirname_creator=lambda trial: "Same", taken=["same_2"])
    assert [directory(namer, number) for number in range(3)] == ["Same", "Same_3", "Same_4"]


def test_illegal_characters_of_the_user_are_replaced():
    assert directory(make(trial_dirname_creator=lambda trial: "lr:0.1?<best>")) == "lr_0.1__best_"


@pytest.mark.parametrize("bad", [None, "", "  ", 3, "a/b", "..", ".", f"a{os.sep}b", "x" * 201, "é" * 101])
def test_unusable_directory_names_are_refused(bad):
    with pytest.raises(ConfigurationError, match="trial_dirname_creator returned"):
        directory(make(trial_dirname_creator=lambda trial: bad))


def test_what_the_users_function_raises_is_kept():
    with pytest.raises(ConfigurationError, match="trial_name_creator raised KeyError for trial a1b2c_00003") as caught:
        directory(make(trial_name_creator=lambda trial: trial.config["momentum"]))
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(ConfigurationError, match="trial_name_creator returned 3"):
        directory(make(trial_name_creator=lambda trial: 3))
