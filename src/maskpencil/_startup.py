"""What must happen before anything else is imported: a safe module path, and no statistics sent by libraries.

Python puts the current folder before its own library for `python -m maskpencil`, so that a file numpy.py or typing.py
beside somebody's images would be run. A folder or file of the name maskpencil in the current folder is found by Python
itself before this, and so cannot be helped; the command `maskpencil` and `python -P -m maskpencil` never look there.

OpenVINO reports every import to its makers by the package `openvino_telemetry`, unless that cannot be imported; so does
nncf. Hugging Face's client asks for a variable of the environment.
"""

import sys


def leave_out_current_folder() -> None:
    """Remove the first place of modules where it is the current folder, and this package is run by `-m`."""
    if sys.argv[:1] != ["-m"] or sys.flags.safe_path:  # as Python looks for the module to run, argv begins with -m
        return
    module = sys.orig_argv[-len(sys.argv)]  # after it come the arguments alone
    is_this = module == "maskpencil" or (module.startswith("-") and module.endswith("mmaskpencil"))
    package = __file__.rpartition("maskpencil")[0].rstrip("/\\")
    if is_this and sys.path[0] != package:  # else the package itself is the current folder's
        del sys.path[0]


leave_out_current_folder()  # until here only `sys` is imported: everything else could be the file to be kept out

import os  # noqa: E402
from typing import cast  # noqa: E402

cast("dict[str, object]", sys.modules).setdefault("openvino_telemetry", None)  # its import fails
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
