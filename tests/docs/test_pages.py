"""The pages name what is there, and their links lead somewhere."""

from __future__ import annotations

import pathlib
import re

import pytest

from perdure.compatibility import SURFACE, resolve

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_architecture_page_names_every_module() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    package = ROOT / "src" / "perdure"
    modules = {path.stem for path in package.glob("*.py")}
    modules |= {path.parent.name for path in package.glob("*/__init__.py")}
    unnamed = {name for name in modules if not name.startswith("_") and not re.search(rf"`{name}/?`", text)}
    assert unnamed == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(page: pathlib.Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_reference_has_every_public_name() -> None:
    """But for the constants of `tune.result`, and errors, whose whole module is there."""
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference" / "api").glob("*.md"))
    documented = set(re.findall(r"^::: (\S+)", pages, re.MULTILINE))
    missing = set()
    for module, rows in SURFACE.items():
        for name, row in rows.items():
            home = row.home.replace(":", ".")
            if module == "tune.result" or not row.offered or home in documented:
                continue
            found = None if row.extra else resolve(row)  # an alias, or what a package takes over from a module of its
            places = {f"{found.__module__}.{found.__qualname__}", found.__module__} if found is not None else set()
            if not places & documented:
                missing.add(f"{module}.{name}")
    assert missing == set()


def test_the_environment_page_names_every_variable_that_is_read() -> None:
    text = (ROOT / "docs" / "reference" / "environment.md").read_text(encoding="utf-8")
    read = set()
    for path in (ROOT / "src" / "perdure").rglob("*.py"):
        read |= set(re.findall(r"environ(?:\.get\(|\[)\s*\"((?:TUNE|RAY|PERDURE)_[A-Z_]+)\"", path.read_text()))
    assert {name for name in read if f"`{name}`" not in text} == set()


def test_each_design_note_has_a_number_of_its_own_and_says_it() -> None:
    notes = sorted((ROOT / "docs" / "design").glob("*.md"))
    numbers = [note.name.partition("-")[0] for note in notes]
    assert numbers == [f"{number:03d}" for number in range(1, len(notes) + 1)]
    for number, note in zip(numbers, notes, strict=True):
        assert note.read_text(encoding="utf-8").startswith(f"# {number}: "), note.name
