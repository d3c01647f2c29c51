"""Read a token from a file: a secret text that a server demands and its clients send."""

from pathlib import Path

from maskpencil.errors import ConfigError
from maskpencil.regular_files import read_regular, reason_of

MIN_TOKEN, MAX_TOKEN = 16, 4096
"""The smallest and the largest number of characters of a token."""


def read_token(path: Path, remedy: str) -> str:
    """Read a token: one line of visible ASCII characters.

    Args:
        path: the file.
        remedy: the end of the error message, which says where a token comes from.

    Raises:
        ConfigError: the file cannot be read, or its content is not a token.
    """
    try:
        content = read_regular(path, limit=MAX_TOKEN + 2)
    except OSError as error:
        raise ConfigError(f"{path}: the token cannot be read ({reason_of(error)}); {remedy}") from error
    token = content.decode("ascii", "replace").strip()
    if len(token) < MIN_TOKEN or not all("!" <= letter <= "~" for letter in token):
        raise ConfigError(
            f"{path}: does not hold a token; expected one line of at least {MIN_TOKEN} ASCII characters without "
            f"spaces; {remedy}"
        )
    return token
