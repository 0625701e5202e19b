"""What people are told to type next."""

import pytest

from perdure.reporting.advice import by_code, by_command, of_script

RESTORE = 'Tuner.restore("/a b/exp", train).fit()'


def test_a_path_can_be_copied_into_a_shell():
    assert by_command("/a b/exp").resume == "perdure resume '/a b/exp'"
    assert by_command("/exp").retry == "perdure resume /exp --resume-errored"


@pytest.mark.parametrize("name", ["lambda", "<lambda>", "my trainable"])
def test_a_trainable_without_a_name_in_python_goes_by_another(name):
    assert by_code("/exp", name).resume == 'Tuner.restore("/exp", trainable).fit()'


@pytest.mark.parametrize(
    ("starts_or_resumes", "stored", "told"),
    [
        (True, True, "perdure resume '/a b/exp', or run this script again"),
        (True, False, "run this script again"),
        (False, True, f"perdure resume '/a b/exp', or {RESTORE}"),
        (False, False, RESTORE),
    ],
)
def test_only_what_would_do_is_named(starts_or_resumes, stored, told):
    how_to = of_script("/a b/exp", "train", starts_or_resumes=starts_or_resumes, stored=stored)
    assert how_to.resume == told
    assert ("perdure resume" in how_to.retry) is stored
