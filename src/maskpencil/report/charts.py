"""Draw charts as SVG: bars with intervals, curves, shares over time, and the figure of the boundary scores."""

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element

import numpy as np

from maskpencil.metrics.intervals import Interval
from maskpencil.report.html import Child, element

Point = tuple[float, float]
"""(x, y)."""

WIDTH, HEIGHT, MARGIN = 360, 300, 52
"""The width and height of a curve's chart, and the margin for labels on its left and bottom, in pixels."""

STRETCHES = 350
"""A long curve over time is divided into at most this number of stretches, with at most two points drawn of each."""


def bar(value: float | None, interval: Interval | None, *, label: str) -> Element:
    """Draw a score as a bar, and its interval as a line over the bar.

    Args:
        value: the score, 0..1; None draws no bar.
        interval: the bounds of the interval, 0..1; None draws no line.
        label: the description of the chart.
    """
    marks: list[Child] = [element("title", label), element("rect", width=100, height=10, class_="track")]
    if value is not None:
        marks.append(element("rect", width=round(100 * value, 2), height=10, class_="value"))
    if interval:
        low, high = (round(100 * bound, 2) for bound in interval)
        marks.append(element("path", d=f"M{low} 5H{high}M{low} 2V8M{high} 2V8", class_="interval"))
    return element("svg", marks, viewBox="0 0 100 10", width=100, height=10, role="img", aria_label=label)


def swatch(color: tuple[int, int, int]) -> Element:
    """Draw a small square in the RGB color, 0..255, of a class."""
    square = element("rect", width=12, height=12, rx=2, fill="#{:02x}{:02x}{:02x}".format(*color))
    return element("svg", square, viewBox="0 0 12 12", width=12, height=12, class_="swatch", aria_hidden="true")


def curve(
    points: Sequence[Point],
    *,
    label: str,
    across: str,
    up: str,
    diagonal: bool = False,
    marked: Point | None = None,
) -> Element:
    """Draw a curve in the unit square.

    Args:
        points: (x, y) in 0..1; no curve is drawn without points.
        label: the description of the chart.
        across: the title of the x axis.
        up: the title of the y axis.
        diagonal: also draw the line x = y.
        marked: a point to mark by a circle; None marks no point.
    """

    def place(x: float, y: float) -> tuple[float, float]:
        return round(MARGIN + x * (WIDTH - MARGIN - 12), 1), round(HEIGHT - MARGIN - y * (HEIGHT - MARGIN - 12), 1)

    parts: list[Child] = [element("title", label)]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        (left, y), (right, _), (x, bottom), (_, top) = place(0, tick), place(1, tick), place(tick, 0), place(tick, 1)
        parts += [
            element("path", d=f"M{left} {y}H{right}M{x} {bottom}V{top}", class_="grid"),
            element("text", f"{tick:g}", x=left - 6, y=y + 4, text_anchor="end"),
            element("text", f"{tick:g}", x=x, y=bottom + 16, text_anchor="middle"),
        ]
    middle, low = (MARGIN + WIDTH - 12) / 2, HEIGHT - 8
    parts += [
        element("text", across, x=middle, y=low, text_anchor="middle"),
        element("text", up, text_anchor="middle", transform=f"translate(12 {(HEIGHT - MARGIN) / 2}) rotate(-90)"),
    ]
    if diagonal:
        (x0, y0), (x1, y1) = place(0, 0), place(1, 1)
        parts.append(element("path", d=f"M{x0} {y0}L{x1} {y1}", class_="diagonal"))
    places = [place(*point) for point in points]
    if places:
        parts.append(element("path", d="M" + "L".join(f"{x} {y}" for x, y in places), class_="line"))
    if len(places) <= 20:
        parts += [element("circle", cx=x, cy=y, r=3, class_="dot") for x, y in places]
    if marked:
        x, y = place(*marked)
        parts.append(element("circle", cx=x, cy=y, r=6, class_="mark"))
    return element("svg", parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", class_="chart", role="img", aria_label=label)


def over_time(values: Sequence[float], seconds: Sequence[float], *, label: str) -> Element:
    """Draw a curve of a share over the time of a video.

    Args:
        values: the shares, 0..1; NaN leaves a gap.
        seconds: the time of each share in seconds, ascending.
        label: the description of the chart.
    """
    width, height, left, bottom = 720, 120, 44, 22
    top = max(0.05, -(-max((value for value in values if not np.isnan(value)), default=0) // 0.05) * 0.05)
    end = seconds[-1] if seconds and seconds[-1] > 0 else 1.0

    def x(second: float) -> float:
        return round(left + second / end * (width - left - 8), 1)

    def y(value: float) -> float:
        return round(height - bottom - value / top * (height - bottom - 8), 1)

    parts: list[Child] = [element("title", label)]
    for tick in (0, top / 2, top):
        parts += [
            element("path", d=f"M{left} {y(tick)}H{width - 8}", class_="grid"),
            element("text", f"{tick:.1%}", x=left - 4, y=y(tick) + 4, text_anchor="end"),
        ]
    for part in (0, 0.25, 0.5, 0.75, 1):
        anchor = "end" if part == 1 else "start" if part == 0 else "middle"
        parts.append(element("text", f"{part * end:.1f} s", x=x(part * end), y=height - 6, text_anchor=anchor))
    pen = "M"
    line = []
    for second, value in _thinned(seconds, values):
        if np.isnan(value):
            pen = "M"
        else:
            line.append(f"{pen}{x(second)} {y(value)}")
            pen = "L"
    parts.append(element("path", d="".join(line), class_="line"))
    return element("svg", parts, viewBox=f"0 0 {width} {height}", class_="wide chart", role="img", aria_label=label)


def _thinned(seconds: Sequence[float], values: Sequence[float]) -> Iterator[Point]:
    """Yield the points (second, value) of a curve; of a long curve only the extreme values of each stretch."""
    step = -(-len(values) // STRETCHES)
    for start in range(0, len(values), step or 1):
        part = [
            (value, second)
            for second, value in zip(seconds[start : start + step], values[start : start + step], strict=True)
        ]
        known = [pair for pair in part if not np.isnan(pair[0])]
        ends = {min(known), max(known)} if known else set(part[:1])
        yield from sorted((second, value) for value, second in ends)


def boundary_figure() -> Element:
    """Draw what the boundary scores compare: two boundaries with a tolerance, and the bands along two boundaries."""
    label = (
        "Left: a predicted boundary counts as right where it runs within the tolerance of the true boundary. Right: "
        "Boundary IoU compares the class within bands along both boundaries."
    )
    true, drawn = "M20 110C60 40 110 40 150 70S190 100 200 60", "M20 118C62 52 112 30 150 78S190 112 200 66"
    parts: list[Child] = [element("title", label)]
    parts += [
        element("path", d=true, class_="tolerance"),
        element("path", d=true, class_="true"),
        element("path", d=drawn, class_="line"),
        element("text", "true boundary and tolerance", x=20, y=16),
        element("text", "predicted boundary", x=20, y=140, class_="accent"),
    ]
    shifted = [
        element("path", d=true, class_="band"),
        element("path", d=drawn, class_="band second"),
        element("text", "bands of target and prediction", x=20, y=16),
    ]
    parts.append(element("g", shifted, transform="translate(230 0)"))
    return element("svg", parts, viewBox="0 0 450 150", class_="wide chart", role="img", aria_label=label)
