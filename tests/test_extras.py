import sys

import pytest

from maskpencil.errors import ConfigError
from maskpencil.extras import EXTRAS, how_to_install, is_installed, needed_for


@pytest.mark.parametrize(("extra", "module"), [(extra, module) for extra in EXTRAS for module in EXTRAS[extra]])
def test_a_missing_package_is_named_with_the_extra_that_installs_it(monkeypatch, extra, module):
    monkeypatch.setitem(sys.modules, module, None)
    assert not is_installed(module)
    expected = rf"^painting needs {module}; install it with pip install 'maskpencil\[{extra}\]'$"
    with pytest.raises(ConfigError, match=expected), needed_for("painting"):
        __import__(module)


def test_a_missing_torch_is_named_in_place_of_other_packages_of_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert how_to_install("accelerate") == "torch; install it with pip install 'maskpencil[train]'"


def test_an_error_for_a_package_of_no_extra_is_unchanged():
    assert how_to_install("numpy") is None
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), needed_for("painting"):
        __import__("no_such_module")


def test_a_missing_module_of_an_installed_package_gets_no_advice_to_install_it():
    with pytest.raises(ModuleNotFoundError, match=r"torch\.no_such_part"), needed_for("painting"):
        __import__("torch.no_such_part")
