"""The course of the learning rate, as a pure function of the work done."""

import math

WARM_UP = 0.1
"""The share of the work in which one cycle rises."""

LOWEST = 0.01


def rate_factor(schedule: str, progress: float) -> float:
    """The share, 0..1, of the greatest learning rate when `progress`, 0..1, of the work is done.

    `one-cycle` rises in a line from a hundredth, then falls to it along half a cosine wave; `constant` is 1.

    Source: Smith and Topin, "Super-Convergence", 2018.
    """
    if schedule == "constant":
        return 1.0
    if progress < WARM_UP:
        return LOWEST + (1 - LOWEST) * progress / WARM_UP
    falling = (progress - WARM_UP) / (1 - WARM_UP)
    return LOWEST + (1 - LOWEST) * (1 + math.cos(math.pi * falling)) / 2
