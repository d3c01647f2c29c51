"""Export a model's network to files for other programs, and compare the files with the model."""

from maskpencil.export.export import ExportedFiles, ExportOptions, export_model, onnx_of, verify_export

__all__ = ["ExportOptions", "ExportedFiles", "export_model", "onnx_of", "verify_export"]
