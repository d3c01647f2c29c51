import pytest

from maskpencil.cli.options import parse_bytes
from maskpencil.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "count"),
    [("1", 1), ("512M", 2**29), ("512MiB", 2**29), ("2GiB", 2**31), ("1.5 gb", 3 * 2**29), ("4k", 4096)],
)
def test_amounts_of_memory_are_read_as_people_write_them(text, count):
    assert parse_bytes("--memory", text) == count


@pytest.mark.parametrize("text", ["", "much", "0", "-1G", "2 XiB", "G"])
def test_something_that_is_not_an_amount_of_memory_is_refused(text):
    with pytest.raises(ConfigError, match="--memory must be an amount such as 2GiB or 512MiB, but got"):
        parse_bytes("--memory", text)
