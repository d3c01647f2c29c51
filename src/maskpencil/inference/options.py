"""Define `PredictOptions` and `VideoOptions`, the settings of `predict`, and check them before any work."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from maskpencil.errors import ConfigError
from maskpencil.parsing import is_several, read_choice, read_duration, read_flag, read_number, read_whole, shown
from maskpencil.regions import RegionFormat

if TYPE_CHECKING:
    from maskpencil.inference.sources import Source
    from maskpencil.prediction import Prediction
    from maskpencil.predictor import Predictor
    from maskpencil.regions import Region

# imports that load slowly are inside functions, since `maskpencil predict --help` imports this module

AnnotationFormat = Literal["folder", "voc", "coco", "labelme", "cvat", "yolo"]
"""The names of the formats in `data.formats.WRITERS`."""

MaskFormat = Literal["video", "png"]
"""The formats for the masks of a video, see `VideoOptions.masks`."""

RASTER_SUFFIXES = frozenset({".jp2", ".tif", ".tiff"})
"""The suffixes, in lower case, of the image files that `geotiff` reads window by window."""


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """Settings for videos, streams and cameras.

    Numbers may be of numpy types, and times may be numbers of seconds or strings such as `1m30s`; the fields hold plain
    Python values.

    Example:
        >>> mp.VideoOptions(start="1m30s", smooth=0.6).start
        90.0

    Raises:
        ConfigError: a setting is out of range.
    """

    every: int = 1
    """Use only every N-th frame; 1 uses all."""

    start: float = 0.0
    """The time in the video at which to begin, such as 90s, 1m30s or 1:30."""

    end: float | None = None
    """The time in the video at which to stop, such as 90s, 1m30s or 1:30; by default the end of the video."""

    smooth: float = 0.0
    """The weight of earlier frames in the class probabilities, which are averaged over time to reduce flicker: from 0
    (off) to below 1."""

    masks: MaskFormat | None = None
    """Also write the masks of a video: video (one lossless video of class indices) or png (one palette PNG per
    frame)."""

    show: bool = False
    """Show the overlay in a window while the video is processed."""

    stdout: bool = False
    """Also write the overlay to standard output as raw rgb24 frames; for a single video."""

    hardware_decode: bool = False
    """Decode videos on the GPU if it can decode their format, else on the CPU."""

    reconnect: int = 5
    """The number of attempts to reconnect to a stream after its connection is lost; 0 gives up at once."""

    def __post_init__(self) -> None:
        _set(self, "show stdout hardware_decode", read_flag)
        _set(self, "every reconnect", read_whole)
        _set(self, "start" if self.end is None else "start end", _read_seconds)
        _set(self, "smooth", read_number)
        if self.every < 1:
            raise ConfigError(f"every must be 1 (each frame) or more, but got {self.every}")
        if not 0 <= self.start < float("inf"):
            raise ConfigError(f"start must be 0 seconds or more, but got {self.start:g}")
        if self.end is not None and not self.start < self.end < float("inf"):
            raise ConfigError(f"end must be after start (second {self.start:g}), but got {self.end:g}")
        if not 0 <= self.smooth < 1:
            raise ConfigError(f"smooth must be from 0 (off) to below 1, but got {self.smooth:g}")
        if self.masks is not None:
            object.__setattr__(self, "masks", read_choice("masks", self.masks, get_args(MaskFormat)))
        if self.reconnect < 0:
            raise ConfigError(f"reconnect must be a number of attempts, 0 (never) or more, but got {self.reconnect}")


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Settings of `predict`: the files that it writes and how videos are read.

    Numbers may be of numpy types; the fields hold plain Python values.

    Example:
        >>> options = mp.PredictOptions(regions="coco", min_area=50)
        >>> mp.predict("runs/train/street/model", "photos/", out="objects", options=options).images
        3

    Raises:
        ConfigError: a setting is out of range, or `min_area` or `region_classes` is given without `regions`.
    """

    overlays: bool = True
    """Write overlays, the images with the class colors drawn over them; on by default."""

    opacity: float = 0.5
    """The opacity of the class colors on overlays, from 0 (invisible) to 1 (opaque)."""

    confidence: bool = False
    """Also write the confidence, the probability of the chosen class of each pixel, as gray images."""

    entropy: bool = False
    """Also write the entropy of the class probabilities of each pixel (bright is uncertain), as gray images."""

    annotations: AnnotationFormat | None = None
    """Also write the images and their masks as a data set in this format, so that the masks can be corrected in an
    annotation tool: folder (images/ and masks/), voc (Pascal VOC), coco (COCO JSON), labelme, cvat (CVAT's Segmentation
    mask 1.1) or yolo (Ultralytics YOLO)."""

    geotiff: bool = False
    """Read TIFF and JPEG 2000 files window by window, so that they may be larger than memory, and write
    the results as GeoTIFF files."""

    resume: bool = False
    """Keep the results in `out` that an earlier run with this option made from the same, unchanged images by the same
    model and settings, and compute only the others."""

    regions: RegionFormat | None = None
    """Find the connected regions of each class, draw their boxes on the overlays and, for images, write the regions in
    this format."""

    min_area: int = 1
    """The smallest number of pixels of a region; smaller regions are left out."""

    region_classes: Sequence[str] | None = None
    """The names of one or more classes whose regions are found; by default all classes."""

    video: VideoOptions = field(default_factory=VideoOptions)
    """Settings for videos, streams and cameras."""

    def __post_init__(self) -> None:
        if not isinstance(self.video, VideoOptions):
            raise ConfigError(f"video must be VideoOptions, but got {shown(self.video)}")
        _set(self, "overlays confidence entropy geotiff resume", read_flag)
        _set(self, "opacity", read_number)
        _set(self, "min_area", read_whole)
        if self.regions is not None:
            object.__setattr__(self, "regions", read_choice("regions", self.regions, get_args(RegionFormat)))
        if self.region_classes is not None:
            if not is_several(self.region_classes):
                raise ConfigError(f"region_classes must be a list of names, but got {shown(self.region_classes)}")
            object.__setattr__(self, "region_classes", tuple(self.region_classes))
        if not 0 <= self.opacity <= 1:
            raise ConfigError(f"opacity must be from 0 to 1, but got {self.opacity}")
        if self.min_area < 1:
            raise ConfigError(f"min_area must be at least 1 pixel, but got {self.min_area}")
        if self.regions is None and (self.min_area > 1 or self.region_classes is not None):
            raise ConfigError(
                "min_area and region_classes select regions, but no regions are requested; add --regions json"
            )
        if self.resume and (self.annotations is not None or self.regions in ("json", "coco")):
            raise ConfigError(
                "resume keeps the results of single images, but annotations, and regions as json or coco, are one "
                "result of all images; leave --annotations out and give only --regions geojson, or leave "
                "--resume out"
            )
        known = isinstance(self.annotations, str) and self.annotations in get_args(AnnotationFormat)
        if self.annotations is not None and not known:
            from maskpencil.data.formats import WRITERS  # loads the readers of all formats

            raise ConfigError(f"annotations must be {', '.join(WRITERS)}, but got {shown(self.annotations)}")

    @property
    def kinds(self) -> list[str]:
        """The requested results that are written as one image file per source: masks, overlays, confidence, entropy."""
        asked = {"masks": True, "overlays": self.overlays, "confidence": self.confidence, "entropy": self.entropy}
        return [kind for kind, is_asked in asked.items() if is_asked]

    def is_raster(self, source: "Source") -> bool:
        """Return whether a source is read and written window by window: TIFF or JPEG 2000, if `geotiff` is on."""
        return self.geotiff and source.kind == "image" and source.path.suffix.lower() in RASTER_SUFFIXES

    def find_regions(self, prediction: "Prediction", *, polygons: bool = True) -> "list[Region]":
        """Find the requested regions; return [] if no regions are requested.

        With `polygons=False` the outlines of the regions are not computed, which is faster.
        """
        if self.regions is None:
            return []
        return prediction.regions(min_area=self.min_area, wanted=self.region_classes, polygons=polygons)

    def refuse_unfit(self, predictor: "Predictor", sources: "Sequence[Source]") -> None:
        """Check, before any work, that the settings fit the predictor and the sources.

        Raises:
            ConfigError: a setting does not fit.
            DataError: a name in `region_classes` is not a class, or the format of annotations cannot store the name of
                an image.
        """
        if self.annotations is not None:
            self._refuse_annotations(self.annotations, sources)
        from maskpencil.predictor import supports

        for name in self.region_classes or ():
            predictor.classes.index(name)
        if any(map(self.is_raster, sources)) and (
            self.regions not in (None, "geojson") or self.annotations or not supports(predictor, "bands")
        ):
            raise ConfigError(
                "geotiff cannot be combined with --class, --abstain, --augment (or another predictor without the "
                "method bands), annotations, or regions in a format other than geojson; leave these out, or leave out "
                "geotiff"
            )
        videos = [source for source in sources if source.kind != "image"]
        if videos:
            self._refuse_videos(predictor, videos)

    def _refuse_annotations(self, file_format: str, sources: "Sequence[Source]") -> None:
        from maskpencil.data.formats import refuse_names  # loads the readers of all formats

        images = [source for source in sources if source.kind == "image"]
        for source in images:
            if source.image is not None:
                raise ConfigError(
                    f"annotations need image files to copy, but source {source.stem} is an image in memory; save it "
                    "first, or leave annotations out"
                )
        refuse_names((source.path for source in images), file_format)

    def _refuse_videos(self, predictor: "Predictor", videos: "Sequence[Source]") -> None:
        from maskpencil.predictor import supports

        if not (self.overlays or self.video.masks or self.video.show or self.video.stdout):
            raise ConfigError(
                f"{videos[0].name}: no result of the video is requested, since overlays are off; turn them on, or add "
                "--masks video, --show or --stdout"
            )
        if self.video.stdout and len(videos) > 1:
            raise ConfigError(
                f"--stdout writes the frames of one video, but got {len(videos)} videos, such as {videos[0].name} and "
                f"{videos[1].name}; give only one"
            )
        if self.video.smooth and not supports(predictor, "probabilities_batch"):
            raise ConfigError("smoothing needs the probabilities of all classes; leave out --smooth or --class")


def _set(options: object, names: str, read: Callable[[str, Any], object]) -> None:
    for name in names.split():
        object.__setattr__(options, name, read(name, getattr(options, name)))


def _read_seconds(name: str, value: Any) -> float:
    """Read a time: a number of seconds, or a string such as `1m30s` from the command line or a settings file."""
    return read_duration(f"--{name}", value) if isinstance(value, str) else read_number(name, value)
