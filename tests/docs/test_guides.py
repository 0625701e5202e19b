"""Runs every Python block of the guides as a script of its own, and compares what it prints with the text after it."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
LIBRARY = re.compile(r"perdure\.(integrations|tune\.integration|tune\.logger)\.")
"""What only the environment with all libraries can run."""
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets(page: pathlib.Path) -> list:
    blocks = [(m.group(1), m.group(2), m.start()) for m in BLOCK.finditer(page.read_text(encoding="utf-8"))]
    found = []
    for (language, text, start), following in zip(blocks, [*blocks[1:], ("", "", 0)], strict=True):
        if language == "python":
            printed = following[1] if following[0] == "text" else None
            line = page.read_text(encoding="utf-8")[:start].count("\n") + 1
            marks = pytest.mark.library if LIBRARY.search(text) else ()
            found.append(pytest.param(text, printed, id=f"{page.stem}:{line}", marks=marks))
    return found


GUIDES = [
    ROOT / "README.md",
    ROOT / "docs" / "migrating-from-ray-tune.md",
    *sorted(page for kind in ("tutorials", "guides", "how-to") for page in (ROOT / "docs" / kind).glob("*.md")),
]


@pytest.mark.parametrize(("code", "printed"), [snippet for page in GUIDES for snippet in snippets(page)])
def test_the_snippet_runs_and_prints_what_the_guide_says(
    code: str, printed: str | None, tmp_path: pathlib.Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(code, encoding="utf-8")
    environment = {
        **os.environ,
        "PERDURE_STORAGE_PATH": str(tmp_path / "results"),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
    }
    result = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
    )
    assert result.returncode == 0, result.stderr[-4000:]
    if printed is not None:
        assert result.stdout == printed, result.stderr[-4000:]


def test_no_page_has_python_that_is_not_run() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        languages = {match[1] for match in BLOCK.finditer(page.read_text(encoding="utf-8"))}
        assert not languages & {"py", "python3", "pycon"}, page
        assert page in GUIDES or "python" not in languages, page


def test_the_trial_checkpoint_guide_is_there() -> None:
    assert "trial-checkpoints" in [page.stem for page in GUIDES]
    assert len(snippets(ROOT / "docs" / "guides" / "trial-checkpoints.md")) >= 10
