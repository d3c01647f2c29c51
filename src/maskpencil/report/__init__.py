"""Report how good a model is, where it fails and which labels are suspect, as one HTML file that opens offline."""

from maskpencil.report.report import ReportOptions, report_video, write_report

__all__ = ["ReportOptions", "report_video", "write_report"]
