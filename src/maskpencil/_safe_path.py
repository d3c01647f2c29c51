"""Leave the current folder out of the places of modules for `python -m maskpencil`, before anything else is imported.

Python puts it before its own library there, so that a file numpy.py or typing.py beside somebody's images would be run.
A folder or file of the name maskpencil in the current folder is found by Python itself before this, and so cannot be
helped; the command `maskpencil` and `python -P -m maskpencil` never look there.

Only `sys` is imported: everything else could be the file that is to be kept out.
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


leave_out_current_folder()
