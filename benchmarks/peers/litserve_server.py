"""A server of masks with LitServe: what a user writes beside `maskpencil serve MODEL`."""

import os
import zlib
from io import BytesIO

import litserve
import numpy as np
import openvino
from fastapi import Response, UploadFile
from PIL import Image, ImageOps


class Masks(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002
        model = openvino.Core().read_model(os.environ["MODEL"])
        self.palette = bytes.fromhex(model.get_rt_info("palette").astype(str))
        self.network = openvino.compile_model(model, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})

    def decode_request(self, request: UploadFile) -> np.ndarray:
        image = Image.open(BytesIO(request.file.read()))
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        return self.network(pixels[None])[0][0]

    def encode_response(self, labels: np.ndarray) -> Response:
        mask, file = Image.fromarray(labels), BytesIO()
        mask.putpalette(self.palette)
        mask.save(file, "PNG", compress_type=zlib.Z_RLE)
        return Response(file.getvalue(), media_type="image/png")


if __name__ == "__main__":
    server = litserve.LitServer(Masks(), accelerator="cpu", workers_per_device=2)
    server.run(host="127.0.0.1", port=int(os.environ["PORT"]), generate_client_file=False)
