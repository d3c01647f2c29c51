"""Compare speed: alternatives are timed in turns, so that other load on the machine affects all of them."""

import statistics
import time
from collections.abc import Callable, Mapping


def interleaved(alternatives: Mapping[str, Callable[[], object]], *, repeats: int) -> dict[str, float]:
    """Time the functions in `alternatives` in turns, and return the median seconds of each over `repeats` rounds.

    The first round, which warms up, is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for turn in range(repeats + 1):
        for name, call in alternatives.items():
            started = time.perf_counter()
            call()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in seconds.items()}
