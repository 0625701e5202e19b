"""What is imported into the template starts no threads, so that trials can be forked from it."""

import subprocess
import sys

import pytest

CODE = """
from perdure.executors.template import why_unsafe
from perdure.executors.threads import one_thread_each

with one_thread_each():
    import {library}
print("unsafe:", why_unsafe())
"""


@pytest.mark.parametrize("library", ["numpy", "pandas", "pyarrow", "sklearn.linear_model"])
def test_a_library_can_be_forked_after_its_import(library):
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(library=library)], capture_output=True, text=True, timeout=200
    )
    assert done.stdout == "unsafe: \n", done.stderr
