"""The course of the learning rate, as a pure function of the step."""

import math

WARM_UP = 0.25
"""The share of the steps in which one cycle rises."""

LOWEST = 0.01


def rate_factor(schedule: str, step: int, steps: int) -> float:
    """The share, 0..1, of the greatest learning rate at `step` of `steps`.

    `one-cycle` rises in a line from a hundredth, then falls to it along half a cosine wave; `constant` is 1.

    Source: Smith and Topin, "Super-Convergence", 2018.
    """
    if schedule == "constant":
        return 1.0
    progress = (step + 0.5) / steps
    if progress < WARM_UP:
        return LOWEST + (1 - LOWEST) * progress / WARM_UP
    falling = (progress - WARM_UP) / (1 - WARM_UP)
    return LOWEST + (1 - LOWEST) * (1 + math.cos(math.pi * falling)) / 2
