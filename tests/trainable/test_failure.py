"""How what went wrong in a trial is told."""

import linecache

from perdure.trainable.failure import with_cells

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
