"""The page that says what survives what names tests that exist, one in each cell."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/explanation/what-survives-what.md"
TEXT = PAGE.read_text(encoding="utf-8")
ELSEWHERE = ("the same", "the same test", "as above", "as for SIGKILL of a worker", "not touched")
"""What a cell may say, or end with, whose test another cell of its row, or the row that it means, names."""


def test_every_test_it_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", TEXT)
    assert len(named) > 20
    for file, name in named:
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not name or re.search(rf"(def {name}\(|^{name} = )", text, re.MULTILINE), f"{file}::{name}"


def test_every_cell_names_one() -> None:
    table = [line.strip("|").split("|") for line in TEXT.splitlines() if line.startswith("|")]
    promises, rows = table[0][1:], table[2:]
    assert len(rows) > 20
    for fault, *cells in rows:
        assert len(cells) == len(promises)
        assert any("tests/" in cell or "test_seeds" in cell for cell in cells), fault
        for promise, cell in zip(promises, cells, strict=True):
            named = "`tests/" in cell or "test_seeds" in cell
            assert named or cell.strip().endswith(ELSEWHERE), f"{fault.strip()}, {promise.strip()}: {cell.strip()}"
