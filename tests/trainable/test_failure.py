"""How what went wrong in a trial is told."""

import linecache

import pytest

from perdure.errors import StorageError
from perdure.trainable.failure import describe, with_cells
from perdure.trainable.pickling import load_objects

TOLD = """\
Traceback (most recent call last):
  File "<cell 7>", line 2, in train
  File "<cell 7>", line 5, in step
  File "model.py", line 3, in forward
    return self.layer(x)
           ^^^^^^^^^^^^^
ValueError: no
"""


def test_the_lines_of_a_notebooks_cells_are_put_where_they_belong(monkeypatch):
    lines = ["def train(config):\n", "    step()\n"]
    monkeypatch.setitem(linecache.cache, "<cell 7>", (9, None, lines, "<cell 7>"))
    told = with_cells(TOLD).splitlines()
    assert told[1:4] == ['  File "<cell 7>", line 2, in train', "    step()", '  File "<cell 7>", line 5, in step']
    assert [line for line in told if line != "    step()"] == TOLD.splitlines(), "nothing else is changed"


def test_a_traceback_that_is_whole_stays_as_it_is():
    assert with_cells(TOLD) == TOLD
    assert not with_cells("")


def test_what_tells_all_in_its_message_is_told_without_perdures_frames(tmp_path):
    with pytest.raises(StorageError) as caught:
        load_objects(written(tmp_path / "params.pkl", b"damaged"))
    ours = caught.value.with_traceback(caught.tb.tb_next)
    assert not describe(ours).traceback
    assert describe(ours).message == str(ours)
    ours.__cause__ = ValueError("led to it")
    assert describe(ours).traceback.startswith("ValueError: led to it\n\nThe above exception")


def written(path, content):
    path.write_bytes(content)
    return path
