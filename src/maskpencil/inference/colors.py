"""Decoded video frames -> 8-bit RGB as BT.709 shows it; HDR is mapped to the range of SDR."""

from typing import Any

import av
from av.error import FFmpegError
from av.video.reformatter import ColorPrimaries, ColorTrc, Interpolation, VideoReformatter

from maskpencil.errors import VideoError
from maskpencil.images import RGBImage

HDR_CURVES = {int(ColorTrc.SMPTE2084): "PQ", int(ColorTrc.ARIB_STD_B67): "HLG"}
"""The transfer functions of ITU-R BT.2100, as FFmpeg numbers them, and their usual names."""

WHITE = 203
"""cd/m² of HDR that become the white of SDR: the reference white of ITU-R BT.2408."""

_UNSPECIFIED = 2  # the code of matrices and primaries alike
_RESERVED = frozenset({0, 3})  # codes that some writers leave behind and that say nothing; matrix 0 is RGB itself
_BT2020 = 9  # the code of the matrix (without constant luminance) and of the primaries


class ColorConverter:
    """Turns the frames of one video into RGB of one size by their own matrix, range and, of HDR, transfer function.

    A frame that names no matrix is read by that of BT.601, as FFmpeg does. SDR is never tone-mapped. HDR is turned into
    light by the curves of BT.2100 (with the system gamma of a display of 1000 cd/m² for HLG), its colors into those of
    BT.709, and light up to `WHITE` keeps its value: what was graded or recorded in SDR and put into HDR comes out as it
    was. Brighter light is white. Metadata of the mastering display is not used: FFmpeg would darken the whole image by
    it.

    `hdr` is set while converting: the curve of the first HDR frame, "PQ" or "HLG".

    Args:
        name: what error messages call the video.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._decoded, self._toned = VideoReformatter(), VideoReformatter()
        self.hdr: str | None = None

    def convert(self, frame: av.VideoFrame, size: tuple[int, int]) -> RGBImage:
        """Give a frame as (H, W, 3) RGB, scaled to `size`, (height, width).

        Raises:
            VideoError: its colors are of a kind that cannot be read.
        """
        curve = HDR_CURVES.get(frame.color_trc)
        if frame.colorspace in _RESERVED and not frame.format.is_rgb:
            frame.colorspace = _UNSPECIFIED
        if curve and frame.colorspace == _UNSPECIFIED:
            frame.colorspace = _BT2020
        self.hdr = self.hdr or curve
        try:
            pixels: RGBImage = self._tone_mapped(frame, size) if curve else self._pixels(frame, size, "rgb24")
            return pixels
        except FFmpegError as error:
            raise VideoError(
                f"{self._name}: its colors cannot be read (pixel format {frame.format.name}, color matrix "
                f"{frame.colorspace}, primaries {frame.color_primaries}); convert it to MP4 with H.264"
            ) from error

    def _tone_mapped(self, frame: av.VideoFrame, size: tuple[int, int]) -> Any:
        # unscaled: a chroma sample stands for all its pixels, as FFmpeg reads SDR of 8 bits, else edges would differ
        scaling = Interpolation.POINT if (frame.height, frame.width) == size else Interpolation.BILINEAR
        # from the array, uncopied: a frame without the metadata of the mastering display
        deep = av.VideoFrame.from_numpy_buffer(self._pixels(frame, size, "rgb48le", scaling), format="rgb48le")
        deep.color_trc = frame.color_trc
        unknown = frame.color_primaries in (_UNSPECIFIED, *_RESERVED)
        deep.color_primaries = _BT2020 if unknown else frame.color_primaries
        toned = self._toned.reformat(
            deep, format="rgb24", dst_color_trc=ColorTrc.BT709, dst_color_primaries=ColorPrimaries.BT709
        )
        return toned.to_ndarray()  # (H, W, 3) uint8

    def _pixels(
        self, frame: av.VideoFrame, size: tuple[int, int], pixel_format: str, scaling: Interpolation | None = None
    ) -> Any:
        height, width = size
        rgb = self._decoded.reformat(frame, width=width, height=height, format=pixel_format, interpolation=scaling)
        return rgb.to_ndarray()
