import os
import subprocess
import sys
from pathlib import Path


def test_openvino_sends_no_statistics_when_it_is_imported(tmp_path: Path):
    script = (
        "import maskpencil.runtimes.openvino_runtime, os, threading, openvino.tools.ovc as ovc;"
        "print(type(ovc.telemetry).__module__, threading.active_count(), os.environ['HF_HUB_DISABLE_TELEMETRY'])"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "HF_HUB_DISABLE_TELEMETRY")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=environment | {"HOME": str(tmp_path)},
    )
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "1", "1"]
    assert list(tmp_path.iterdir()) == []


def test_the_users_setting_for_the_hub_is_kept(tmp_path: Path):
    script = "import maskpencil, os; print(os.environ['HF_HUB_DISABLE_TELEMETRY'])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"HF_HUB_DISABLE_TELEMETRY": "0"},
    )
    assert done.stdout.strip() == "0"
