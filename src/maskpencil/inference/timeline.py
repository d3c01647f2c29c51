"""Times that begin anew within a file, as where streams were joined byte by byte."""

from fractions import Fraction

_BACK_SECONDS = 0.5  # what no frame and no packet of sound of one stream goes back by


class Timeline:
    """Lets times go on behind each joint; `joints` are where, in seconds.

    The first stream to go back sets how far all are moved, so that sound and frames stay together.
    """

    def __init__(self) -> None:
        self.joints: list[float] = []
        self._shifts = [Fraction(0)]  # seconds, of each part
        self._parts: dict[int, int] = {}  # which part a stream is in
        self._last: dict[int, Fraction] = {}

    def shift(self, stream: int, pts: int | None, time_base: Fraction, *, end: float | None) -> int:
        """Give what to add to a stream's times, in its time base, from `pts` on.

        Args:
            stream: the stream's number.
            pts: the time as it stands; None moves as the one before.
            time_base: its unit, in seconds.
            end: where what came so far ends, in seconds, moved; None where that is not known.
        """
        if pts is not None:
            time = pts * time_base
            if time < self._last.get(stream, time) - Fraction(_BACK_SECONDS):
                self._parts[stream] = part = self._parts.get(stream, 0) + 1
                if part == len(self._shifts):
                    begins = Fraction(end if end is not None else float(time)).limit_denominator(1_000_000)
                    self._shifts.append(begins - time)
                    self.joints.append(float(begins))
            self._last[stream] = time
        return round(self._shifts[self._parts.get(stream, 0)] / time_base)
