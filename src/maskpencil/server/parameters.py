"""Read the query parameters of a request; an unknown parameter is an error."""

from collections.abc import Collection, Mapping

from starlette.requests import Request

from maskpencil.server.refusals import RefusedError

MAX_AREA = 2**31 - 1
"""The largest value of the parameter `min_area`."""


def read_parameters(request: Request, names: Collection[str]) -> dict[str, str]:
    """Return the query parameters of a request; only those in `names` are allowed.

    Raises:
        RefusedError: a parameter is unknown or occurs twice.
    """
    given = request.query_params.multi_items()
    for name, _ in given:
        if name not in names or [other for other, _ in given].count(name) > 1:
            raise RefusedError(
                400, f"the parameters are {', '.join(names)}, each at most once, but got {name!r}", close=True
            )
    return dict(given)


def read_area(values: Mapping[str, str]) -> int:
    """Return the parameter `min_area`, the smallest number of pixels of a region; 1 if it is not given.

    Raises:
        RefusedError: it is not a whole number in range.
    """
    area = values.get("min_area", "1")
    if area.isascii() and area.isdecimal() and len(area) < 11 and 1 <= int(area) <= MAX_AREA:
        return int(area)
    raise RefusedError(400, f"min_area must be a whole number from 1 to {MAX_AREA}, but got {area!r}", close=True)
