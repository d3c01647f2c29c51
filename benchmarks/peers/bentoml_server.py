"""A server of masks with BentoML: what a user writes beside `maskpencil serve MODEL`."""

import os
import zlib
from pathlib import Path

import bentoml
import numpy as np
import openvino
from PIL import Image, ImageOps


@bentoml.service(workers=2, traffic={"timeout": 600, "max_concurrency": 200})
class Masks:
    def __init__(self) -> None:
        model = openvino.Core().read_model(os.environ["MODEL"])
        self.palette = bytes.fromhex(model.get_rt_info("palette").astype(str))
        self.network = openvino.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1})

    @bentoml.api(route="/predict")
    def mask(self, image: Path, context: bentoml.Context) -> Path:
        pixels = np.asarray(ImageOps.exif_transpose(Image.open(image)).convert("RGB"))
        mask = Image.fromarray(self.network(pixels[None])[0][0])
        mask.putpalette(self.palette)
        file = Path(context.temp_dir) / "mask.png"
        mask.save(file, compress_type=zlib.Z_RLE)
        return file
