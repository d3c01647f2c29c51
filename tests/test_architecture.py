import ast
import re
import runpy
from pathlib import Path

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"
SOURCE = TESTS.parent / "src" / "maskpencil"

KINDS = {"browser", "fuzz", "round_trips", "stress"}
"""Folders of tests of one kind, which mirror no room of the program."""


def test_the_page_of_the_architecture_is_that_of_the_code() -> None:
    made = runpy.run_path(str(DOCS / "architecture.py"))["page"]()
    assert (DOCS / "architecture.md").read_text(encoding="utf-8") == made, "run python docs/architecture.py"


def test_every_module_belongs_to_a_layer() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    for path in SOURCE.rglob("*.py"):
        if path.name not in ("__init__.py", "_startup.py"):
            assert f"`{path.relative_to(SOURCE).as_posix()}`" in page


def test_the_folders_of_tests_are_rooms_of_the_program() -> None:
    folders = {path.parent.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    assert {str(folder) for folder in folders if not (SOURCE / folder).is_dir()} == KINDS


def test_no_module_imports_a_test_module_or_a_conftest() -> None:
    modules = {"conftest", *(path.stem for path in TESTS.rglob("test_*.py"))}
    found = []
    for path in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path}: {name}" for name in imported if modules & set(name.split("."))]
    assert not found


def test_no_constant_of_a_module_is_given_twice() -> None:
    """The functions above the second assignment would silently use it, too."""
    for path in SOURCE.rglob("*.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
        names = [name.id for target in targets for name in named(target)]
        assert len(names) == len(set(names)), path


def named(target: ast.expr) -> list[ast.Name]:
    """The names that an assignment gives; nothing if it changes an item or an attribute."""
    if isinstance(target, ast.Tuple):
        return [name for part in target.elts for name in named(part)]
    return [target] if isinstance(target, ast.Name) else []


def test_what_the_trips_and_the_places_for_new_things_name_exists() -> None:
    made = runpy.run_path(str(DOCS / "architecture.py"))
    assert len(made["TRIPS"]) == 3
    assert len(made["PLACES"]) == 20
    steps = [step for table in (made["TRIPS"], made["PLACES"]) for rows in table.values() for step in rows]
    missing = [f"{file}: {name}" for file, name, _ in steps if name not in defined(SOURCE / file)]
    assert not missing


def test_files_that_texts_mention_exist() -> None:
    made = runpy.run_path(str(DOCS / "architecture.py"))
    texts = [*made["LEAVES"].values(), *(does for rows in made["PLACES"].values() for _, _, does in rows)]
    named = [word for text in texts for word in text.split("`")[1::2] if word.endswith((".py", ".js"))]
    assert named
    assert not [name for name in named if not (SOURCE / name).is_file()]


def defined(path: Path) -> set[str]:
    """The functions, classes, methods (as CLASS.METHOD) and constants of a file, of HTML the ids.

    Nothing if there is no file of Python.
    """
    names: set[str] = set()
    if path.suffix == ".js":
        return set(re.findall(r"^export (?:class|function) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    if path.suffix == ".html":
        return set(re.findall(r'id="(\w+)"', path.read_text(encoding="utf-8")))
    for node in ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else ():
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names
