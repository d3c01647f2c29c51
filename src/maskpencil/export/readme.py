"""Write the README of an export: what the files compute, how they were checked, and example programs."""

from collections.abc import Mapping

from maskpencil.export.network import FILES, Form
from maskpencil.export.parity import LEAST_EQUAL, Parity
from maskpencil.exported import ExportFacts
from maskpencil.plain_text import counted, markdown

_ONNX = """import sys
import zlib

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession("model.onnx")
image = ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("RGB")
labels, confidence = session.run(None, {"pixels": np.asarray(image)[None]})
mask = Image.fromarray(labels[0])
mask.putpalette(bytes.fromhex(session.get_modelmeta().custom_metadata_map["palette"]))
mask.save(sys.argv[2], compress_type=zlib.Z_RLE)
"""

_OPENVINO = """import sys
import zlib

import numpy as np
import openvino
from PIL import Image, ImageOps

model = openvino.Core().read_model("model.xml")
network = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
image = ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("RGB")
labels, confidence = network(np.asarray(image)[None]).to_tuple()
mask = Image.fromarray(labels[0])
mask.putpalette(bytes.fromhex(model.get_rt_info("palette").astype(str)))
mask.save(sys.argv[2], compress_type=zlib.Z_RLE)
"""

_TORCH = """import sys

import numpy as np
import torch
from PIL import Image, ImageOps

network = torch.export.load("model.pt2").module(check_guards=False)
image = ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("RGB")
labels, confidence = network(torch.from_numpy(np.array(image)[None]))
Image.fromarray(labels[0].numpy()).save(sys.argv[2])
"""

_LOGITS = {
    _ONNX: (
        '(logits,) = session.run(None, {"pixels": np.asarray(image)[None]})\n'
        "labels = logits.argmax(1).astype(np.uint8)\n"
    ),
    _OPENVINO: "(logits,) = network(np.asarray(image)[None]).to_tuple()\nlabels = logits.argmax(1).astype(np.uint8)\n",
    _TORCH: "logits = network(torch.from_numpy(np.array(image)[None]))\nlabels = logits.argmax(1).to(torch.uint8)\n",
}
"""For each program the lines that replace its call of the network if the outputs are logits."""

PROGRAMS: Mapping[Form, tuple[str, str, str]] = {
    "onnx": ("ONNX Runtime", "pip install numpy onnxruntime pillow", _ONNX),
    "openvino": ("OpenVINO", "pip install numpy openvino pillow", _OPENVINO),
    "torch": ("PyTorch", "pip install numpy pillow torch torchvision", _TORCH),
}
"""For each form: the library that runs the file, the command that installs the packages, and an example in Python."""


def program(form: Form, output: str) -> str:
    """Return an example in Python, of at most 15 lines, that segments an image with an exported file.

    Args:
        form: the form of the file.
        output: what the file computes, labels or logits.
    """
    _, _, text = PROGRAMS[form]
    if output == "labels":
        return text
    start = text.index("labels, confidence = ")
    return text[:start] + _LOGITS[text] + text[text.index("\n", start) + 1 :]


def readme(title: str, facts: ExportFacts, parities: Mapping[Form, Parity]) -> str:
    """Return the README of an export as Markdown.

    Args:
        title: the name of the model.
        facts: the classes and outputs of the files.
        parities: the comparison of each form with the model.
    """
    outputs = {
        "labels": [
            ("`labels`", "uint8 (images, height, width)", "the number of the class of each pixel"),
            ("`confidence`", "float32 (images, height, width)", "the probability of the class, 0 to 1"),
        ],
        "logits": [
            ("`logits`", "float32 (images, classes, height, width)", "the scores of the classes before softmax")
        ],
    }[facts.output]
    on_data = any(parity.drop is not None for parity in parities.values())
    lines = [
        f"# {markdown(title)}",
        "",
        "A network that segments images, exported by MaskPencil.",
        "",
        "| | type and size | content |",
        "|---|---|---|",
        "| input `pixels` | uint8 (images, height, width, 3) | RGB, 0 to 255, any size; the network normalizes them |",
        *(f"| output {name} | {kind} | {content} |" for name, kind, content in outputs),
        "",
        "## Classes",
        "",
        "| number | class | color |",
        "|---|---|---|",
        *(
            f"| {number} | {markdown(name)} | {', '.join(map(str, color))} |"
            for number, (name, color) in enumerate(zip(facts.classes.names, facts.classes.colors.tolist(), strict=True))
        ),
        "",
        "## Check",
        "",
        (
            f"Each file was compared with the model before it was written: at least {LEAST_EQUAL[facts.weights]:.2%} "
            f"of the pixels must have the same class. Weights: {facts.weights}. "
            f"`maskpencil verify FILE MODEL{' --data DATA' if on_data else ''}` repeats the comparison."
        ),
        "",
        "| file | images | pixels with the same class | largest difference | mean IoU lost |",
        "|---|---|---|---|---|",
        *(
            f"| {FILES[form][0]} | {parity.images} | {parity.equal:,} of {parity.pixels:,} | "
            f"{parity.largest_difference:.1e} | {'-' if parity.drop is None else f'{parity.drop:.2f} points'} |"
            for form, parity in parities.items()
        ),
    ]
    for form in parities:
        name, packages, _ = PROGRAMS[form]
        text = program(form, facts.output)
        number = counted(len(text.strip().splitlines()), "line")
        lines += [
            "",
            f"## {name}",
            "",
            f"`{packages}`, then `python run_{form}.py photo.jpg mask.png` with these {number} in `run_{form}.py`:",
            "",
            "```python",
            text.rstrip(),
            "```",
        ]
    return "\n".join([*lines, ""])
