"""How fast prediction is beside the bare network, and beside other projects' networks.

    python benchmarks/inference.py pipeline MODEL IMAGES [--count 500]
    python benchmarks/inference.py video MODEL [--seconds 60]
    python benchmarks/inference.py peers [--backbone resnet18] [--size 352x480]
    python benchmarks/inference.py batches [--backbones vgg16 resnet18] [--sizes 360x480 1024x2048] [--device cuda]

`pipeline` colors JPEG files from path to saved mask and overlay, `video` a drawn drive of 1280x720 from MP4 to MP4;
both in turns with the bare network on decoded images. `peers` times untrained networks of other projects as people
run them (eager, float32), beside ours by default. segmentation_models.pytorch takes part where it is installed.
`batches` times untrained FCN-8s by torch, eager in float32 and by automatic mixed precision, beside ours and ours
compiled: image by image and in the batch that is fastest for each.
"""

import argparse
import copy
import itertools
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
import torch

from maskpencil.classes import ClassSet
from maskpencil.comparison import interleaved
from maskpencil.comparison.runtimes import eager
from maskpencil.hardware import choose_device, choose_precision
from maskpencil.images import RGBImage, read_image
from maskpencil.inference.predict import predict
from maskpencil.inference.sources import find_sources
from maskpencil.inference.video.predict import predict_video
from maskpencil.inference.video.writers import write_video
from maskpencil.model_folder import ModelParts
from maskpencil.models import FCN, FCNConfig, build_fcn
from maskpencil.preprocessing import Preprocessing
from maskpencil.scenes import draw_scene
from maskpencil.segmenter import Segmenter

TURNS = 5
WARM_UP = 3


def pipeline(arguments: argparse.Namespace) -> None:
    """From path to saved mask and overlay, in turns with the bare network."""
    segmenter = Segmenter.from_pretrained(arguments.model)
    files = sorted(path for path in arguments.images.rglob("*") if path.suffix in (".jpg", ".jpeg"))
    files = list(itertools.islice(itertools.cycle(files), arguments.count))
    for path in files[:WARM_UP]:
        segmenter.predict_batch([read_image(path)])
    ratios, rates = [], []
    for turn in np.array_split(np.array(files, dtype=object), TURNS):
        images = [read_image(path) for path in turn]
        bare = seconds(lambda images=images: [segmenter.predict_batch([image]) for image in images])
        with tempfile.TemporaryDirectory() as folder:
            named = Path(folder) / "in"
            named.mkdir()
            for number, path in enumerate(turn):
                (named / f"{number}.jpg").symlink_to(path.resolve())
            sources = find_sources([named])
            whole = seconds(
                lambda sources=sources, folder=folder: predict(segmenter, sources, out=Path(folder) / "out")
            )
        ratios.append(bare / whole)
        rates.append((len(turn) / bare, len(turn) / whole))
        print(f"bare {rates[-1][0]:.1f}, from path to files {rates[-1][1]:.1f} images/s: {ratios[-1]:.3f}", flush=True)
    print(f"{segmenter.runtime.title}: {median(ratios):.3f} of the bare network's rate in the median")


def video(arguments: argparse.Namespace) -> None:
    """From MP4 to MP4, in turns with the bare network; and what memory that takes."""
    segmenter = Segmenter.from_pretrained(arguments.model)
    stills = [draw_scene(seed, (720, 1280)).image for seed in range(4)]
    with tempfile.TemporaryDirectory() as folder:
        source, count = Path(folder) / "drive.mp4", round(25 * arguments.seconds)
        write_video(source, panned(stills, count), frame_rate=25)
        for image in stills[:WARM_UP]:
            segmenter.predict_batch([image])
        memory: dict[int, float] = {}

        def look(frame: int, _: int | None) -> None:
            if frame in (100, count):
                memory[frame] = resident()

        sample = stills * 5
        before = seconds(lambda: [segmenter.predict_batch([image]) for image in sample]) / len(sample)
        out = Path(folder) / "out.mp4"
        whole = seconds(lambda: predict_video(segmenter, source, out, on_frame=look)) / count
        after = seconds(lambda: [segmenter.predict_batch([image]) for image in sample]) / len(sample)
        bare = (before + after) / 2
        print(f"{segmenter.runtime.title}, {count} frames of 1280x720 from video to video: {1 / whole:.2f} frames/s")
        print(f"bare network {1 / before:.2f} before, {1 / after:.2f} after: {bare / whole:.3f} of its rate")
        print("memory: " + ", ".join(f"{value:.0f} MB after {frame} frames" for frame, value in memory.items()))


def peers(arguments: argparse.Namespace) -> None:
    """Other projects' networks as people run them, beside ours."""
    height, width = map(int, arguments.size.split("x"))
    image = draw_scene(0, (height, width)).image
    preprocessing = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    inputs = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    network = build_fcn(FCNConfig(11, arguments.backbone), weights="none")
    with tempfile.TemporaryDirectory() as folder:
        classes = ClassSet(tuple(f"class_{index}" for index in range(11)))
        Segmenter.of_network(ModelParts(network, classes, preprocessing), device="cpu").save(Path(folder) / "model")
        ours = Segmenter.from_pretrained(Path(folder) / "model", device="cpu")
        nets = {"plain eager FCN-8s": build_fcn(FCNConfig(11, arguments.backbone), weights="none"), **foreign()}
        calls: dict[str, Callable[[], object]] = {name: in_float32(net.eval(), inputs) for name, net in nets.items()}
        name = f"maskpencil FCN-8s, {ours.runtime.name} {ours.runtime.precision}"
        calls[name] = lambda: ours.predict_batch([image])
        times = interleaved(calls, repeats=arguments.repeats)
    print(f"{arguments.backbone}, {arguments.size}, torch {torch.__version__}; peak {resident():.0f} MB")
    for name, value in times.items():
        print(f"{name:44} {1000 * value:8.1f} ms {value / times['plain eager FCN-8s']:8.2f} of the plain FCN-8s")


def batches(arguments: argparse.Namespace) -> None:
    """Images a second by torch: image by image, and in the best batch."""
    place = choose_device(arguments.device)
    precision = choose_precision("auto", place)
    for backbone, size in itertools.product(arguments.backbones, arguments.sizes):
        image = draw_scene(0, tuple(map(int, size.split("x")))).image
        network = build_fcn(FCNConfig(11, backbone), weights="none").eval().to(place)
        rates: dict[str, dict[int, float]] = {}
        for count in arguments.batches:
            try:
                calls = by_torch(network, [image] * count, place, precision)
                times = interleaved(calls, repeats=arguments.repeats)
            except torch.OutOfMemoryError:
                break
            for name, value in times.items():
                rates.setdefault(name, {})[count] = count / value
        print(f"{backbone}, {size}, {place.type}, images a second")
        for name, by_count in rates.items():
            best = max(by_count, key=by_count.__getitem__)
            print(f"{name:20} {by_count[min(by_count)]:8.1f} one by one {by_count[best]:8.1f} in batches of {best}")


def by_torch(
    network: FCN, images: list[RGBImage], place: torch.device, precision: str
) -> dict[str, Callable[[], object]]:
    """The ways to bring images to label maps by torch."""
    preprocessing = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    classes = ClassSet(tuple(f"class_{index}" for index in range(11)))
    calls: dict[str, Callable[[], object]] = {}
    for name, kind in (("eager fp32", "fp32"), (f"eager AMP {precision}", precision)):
        calls[name] = partial(eager(network, preprocessing, place, kind), images)
    for compiled in (False, True):
        ours = Segmenter.of_network(
            ModelParts(copy.deepcopy(network), classes, preprocessing),
            device=place,
            precision=precision,
            compiled=compiled,
        )
        calls[f"maskpencil{', compiled' if compiled else ''}"] = partial(ours.predict_batch, images)
    for call in calls.values():
        call()  # what is compiled is so from the second time on, that of warming up
    return calls


def foreign() -> dict[str, torch.nn.Module]:
    """Networks of torchvision and, where it is installed, segmentation_models.pytorch, without weights."""
    from torchvision.models.segmentation import fcn_resnet50

    nets: dict[str, torch.nn.Module] = {
        "torchvision fcn_resnet50": fcn_resnet50(weights=None, weights_backbone=None, num_classes=11)
    }
    if find_spec("segmentation_models_pytorch"):
        import segmentation_models_pytorch as smp

        for kind in ("Unet", "FPN", "DeepLabV3Plus"):
            nets[f"smp {kind}, resnet18"] = getattr(smp, kind)("resnet18", encoder_weights=None, classes=11)
    return nets


def in_float32(net: torch.nn.Module, inputs: torch.Tensor) -> Callable[[], object]:
    """A network's label map of one image, in float32."""

    @torch.inference_mode()
    def call() -> object:
        logits = net(inputs)
        return (logits["out"] if isinstance(logits, dict) else logits).argmax(1)

    return call


def panned(stills: list[RGBImage], count: int) -> Iterator[RGBImage]:
    """A camera that turns over the stills."""
    for frame in range(count):
        yield np.roll(stills[frame * len(stills) // count], 4 * frame, axis=1)


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def resident() -> float:
    """Megabytes that the process has now, where that can be read, else at most."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("pipeline")
    one.add_argument("model", type=Path)
    one.add_argument("images", type=Path)
    one.add_argument("--count", type=int, default=500)
    one.set_defaults(run=pipeline)
    one = commands.add_parser("video")
    one.add_argument("model", type=Path)
    one.add_argument("--seconds", type=float, default=60)
    one.set_defaults(run=video)
    one = commands.add_parser("peers")
    one.add_argument("--backbone", default="resnet18")
    one.add_argument("--size", default="352x480")
    one.add_argument("--repeats", type=int, default=7)
    one.set_defaults(run=peers)
    one = commands.add_parser("batches")
    one.add_argument("--backbones", nargs="+", default=["vgg16", "resnet18"])
    one.add_argument("--sizes", nargs="+", default=["360x480", "1024x2048"])
    one.add_argument("--batches", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32])
    one.add_argument("--repeats", type=int, default=7)
    one.add_argument("--device", default="auto")
    one.set_defaults(run=batches)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
