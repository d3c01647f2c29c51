"""Make the module search path safe, switch off telemetry and shorten busy-waiting, before anything else is imported.

For `python -m maskpencil` Python searches the current folder before its own library, so that a file numpy.py or
typing.py next to somebody's images would be run. This code cannot protect against a file or folder named maskpencil in
the current folder, which Python would run instead of this package; the command `maskpencil` and `python -P -m
maskpencil` never search the current folder.

OpenVINO and nncf report every import to their makers through the package `openvino_telemetry`, whose import is made to
fail here; they then report nothing. Hugging Face's client sends nothing if the environment variable that is set here
has the value 1.

On Linux the threads of torch wait for each other in a loop that occupies a CPU core. If another program needs that
core, a training step takes up to ten times as long. A shorter loop prevents this; on an otherwise idle machine a
training step then takes at most a few percent longer.
"""

import sys


def leave_out_current_folder() -> None:
    """Remove the current folder from the module search path if this package is run by `-m`."""
    if sys.argv[:1] != ["-m"] or sys.flags.safe_path:  # argv begins with -m while Python looks for the module to run
        return
    module = sys.orig_argv[-len(sys.argv)]  # only the arguments follow the module's name
    is_this = module == "maskpencil" or (module.startswith("-") and module.endswith("mmaskpencil"))
    package = __file__.rpartition("maskpencil")[0].rstrip("/\\")
    if is_this and sys.path[0] != package:  # otherwise the package itself lies in the current folder
        del sys.path[0]


leave_out_current_folder()  # only `sys` is imported before: any other import could run the file to be kept out

import os  # noqa: E402
from typing import cast  # noqa: E402

cast("dict[str, object]", sys.modules).setdefault("openvino_telemetry", None)  # its import fails
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # libgomp reads it when torch is imported
