import sys

import pytest

from maskpencil.errors import ConfigError
from maskpencil.extras import EXTRAS, how_to_install, is_installed, needed_for


@pytest.mark.parametrize(("extra", "module"), [(extra, module) for extra in EXTRAS for module in EXTRAS[extra]])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch, extra, module):
    monkeypatch.setitem(sys.modules, module, None)
    assert not is_installed(module)
    told = rf"^painting needs {module}; install it with pip install 'maskpencil\[{extra}\]'$"
    with pytest.raises(ConfigError, match=told), needed_for("painting"):
        __import__(module)


def test_where_torch_is_missing_it_is_named_for_all_that_comes_with_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert how_to_install("accelerate") == "torch; install it with pip install 'maskpencil[train]'"


def test_what_no_extra_brings_is_the_error_that_it_was():
    assert how_to_install("numpy") is None
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), needed_for("painting"):
        __import__("no_such_module")


def test_a_part_of_an_installed_package_that_is_missing_is_not_told_to_be_installed():
    with pytest.raises(ModuleNotFoundError, match=r"torch\.no_such_part"), needed_for("painting"):
        __import__("torch.no_such_part")
