import runpy
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_of_the_architecture_is_that_of_the_code() -> None:
    made = runpy.run_path(str(DOCS / "architecture.py"))["page"]()
    assert (DOCS / "architecture.md").read_text(encoding="utf-8") == made, "run python docs/architecture.py"


def test_every_module_stands_in_a_layer() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    source = DOCS.parent / "src" / "maskpencil"
    for path in source.rglob("*.py"):
        if path.name not in ("__init__.py", "_startup.py"):
            assert f"`{path.relative_to(source).as_posix()}`" in page
