"""Run cases of one target, in a process that may crash, hang or grow: `python worker.py TARGET SCRATCH`.

A line on standard input asks for a case: {"folder": ..., "number": ...} to make and run it, without a number to run
what lies in the folder. A line on standard output answers.
"""

import faulthandler
import gc
import hashlib
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

SPACE = 6 << 30
"""Address space that a case may take: what it reserves beyond ends in a MemoryError and not in a full machine.

Pillow reserves as much as a cut PNG claims to hold, up to 4 GiB, and fills what is there.
"""


def main(name: str, scratch: Path) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    warnings.simplefilter("ignore")

    import numpy as np
    from targets import TARGETS

    target = TARGETS[name](scratch)
    sound = scratch / "sound"
    shutil.rmtree(sound, ignore_errors=True)
    # what is loaded once is no growth of a case
    target.run(sound, target.make(np.random.default_rng(0), sound / "input", damage=False))
    space = _status("VmSize") + SPACE
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        folder = Path(asked["folder"])
        if "number" in asked:
            random = np.random.default_rng([list(TARGETS).index(name), asked["number"]])
            plan = target.make(random, folder / "input")
            (folder / "plan.json").write_text(json.dumps(plan))
        plan = json.loads((folder / "plan.json").read_text())
        print(json.dumps(_run(target, folder, plan)), file=answers, flush=True)


def _run(target: Any, folder: Path, plan: dict[str, Any]) -> dict[str, Any]:
    from maskpencil.cli.failures import memory_refused
    from maskpencil.errors import MaskPencilError

    before, began = _contents(folder / "input"), time.process_time()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
    resident = _status("VmRSS")
    verdict, message, trace = "done", "", ""
    try:
        target.run(folder, plan)
    except MaskPencilError as error:
        verdict, message = "refused", str(error)
        if memory_refused(error):  # as the command asks of every error
            verdict, trace = "memory", traceback.format_exc(limit=-12)[-6000:]
        elif "\n" in message or not message:
            verdict, trace = "message", f"{type(error).__name__}: {message!r}"[:2000]
    except BaseException as error:
        verdict, message = type(error).__name__, str(error)[:500]
        trace = traceback.format_exc(limit=-12)[-6000:]
    seconds = time.process_time() - began
    if verdict in ("done", "refused") and _contents(folder / "input") != before:
        verdict, message = "changed", f"the input was changed ({message})"
    return {
        "verdict": verdict,
        "message": message[:2000],
        "trace": trace,
        "growth": (_status("VmHWM") - resident) / 2**20,
        "resident": _status("VmRSS") / 2**20,
        "seconds": seconds,
    }


def _contents(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _status(name: str) -> int:
    """A size from the kernel's record of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
