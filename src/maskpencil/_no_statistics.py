"""Keep the libraries from sending statistics; imported before any of them.

OpenVINO reports every import to its makers by the package `openvino_telemetry`, unless that cannot be imported; so does
nncf. Hugging Face's client asks for a variable of the environment.
"""

import os
import sys
from typing import cast

cast("dict[str, object]", sys.modules).setdefault("openvino_telemetry", None)  # its import fails
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
