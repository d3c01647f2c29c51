"""Write docs/architecture.md: the layers of pyproject.toml, with a line for every module from its docstring.

python docs/architecture.py
"""

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "maskpencil"
PAGE = ROOT / "docs" / "architecture.md"

HEAD = """\
# Architecture

<!-- written by docs/architecture.py from the layers in pyproject.toml and the docstrings; do not edit -->

    folder -> data (pairs, classes) -> training (batches, loss, steps) -> model folder
    image, folder, video, URL -> inference (Segmenter) -> Prediction -> masks, overlays, regions, video
    model folder + data -> evaluation -> scores

A module imports from lower layers only, which `make lint` checks. The layers from the top:
"""


def page() -> str:
    """Return the text of docs/architecture.md."""
    layers = _layers()
    parts = [HEAD]
    for number, modules in enumerate(layers):
        parts.append(f"## Layer {len(layers) - 1 - number}\n")
        for module in modules:
            parts += _lines(SOURCE.joinpath(*module.split(".")[1:]))
        parts.append("")
    return "\n".join(parts)


def _layers() -> list[list[str]]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (contract,) = (contract for contract in contracts if contract["name"] == "Imports go to a lower layer only")
    return [[module.strip() for module in layer.split("|")] for layer in contract["layers"]]


def _lines(path: Path) -> list[str]:
    """Return the lines of a module, or of a package and all that is in it."""
    name = path.relative_to(SOURCE).as_posix()
    if not path.is_dir():
        return [f"- `{name}.py`: {_summary(path.with_suffix('.py'))}"]
    lines = [f"- `{name}/`: {_summary(path / '__init__.py')}"]
    for file in sorted(path.iterdir()):
        if (file.is_dir() and (file / "__init__.py").is_file()) or (
            file.suffix == ".py" and file.name != "__init__.py"
        ):
            lines += [f"  {line}" for line in _lines(file if file.is_dir() else file.with_suffix(""))]
    return lines


def _summary(path: Path) -> str:
    """Return the first paragraph of a module's docstring in one line."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split()).rstrip(":.") + "."


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
