import inspect
import re

import pytest

from maskpencil import errors


def tree(parent: type, depth: int = 0) -> list[tuple[int, str]]:
    children = [entry for child in parent.__subclasses__() for entry in tree(child, depth + 1)]
    return [(depth, parent.__name__), *children]


def test_the_tree_drawn_in_the_docstring_is_the_tree() -> None:
    lines = (re.match(r"[ │├└─]*(\w+Error)\b", line) for line in inspect.getdoc(errors).splitlines())
    drawn = [(line.start(1) // 4 - 1, line[1]) for line in lines if line]
    assert drawn == tree(errors.MaskPencilError)


def test_a_wrong_setting_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="between"):
        raise errors.ConfigError("the opacity must be between 0 and 1")
