"""Check a data set: find faults, name the files, say what to do."""

from maskpencil.data.check.classes import refuse_nonsense
from maskpencil.data.check.fix import LOG, Change, write_fixed
from maskpencil.data.check.report import CheckReport, ClassCount, Fault, overlay_sheet
from maskpencil.data.check.run import MOST_PROCESSES, check

__all__ = [
    "LOG",
    "MOST_PROCESSES",
    "Change",
    "CheckReport",
    "ClassCount",
    "Fault",
    "check",
    "overlay_sheet",
    "refuse_nonsense",
    "write_fixed",
]
