"""Check a data set: find faults, name the files, say what to do."""

from maskpencil.data.check.masks import refuse_nonsense
from maskpencil.data.check.report import CheckReport, ClassCount, Fault, overlay_sheet
from maskpencil.data.check.run import MOST_PROCESSES, check

__all__ = [
    "MOST_PROCESSES",
    "CheckReport",
    "ClassCount",
    "Fault",
    "check",
    "overlay_sheet",
    "refuse_nonsense",
]
