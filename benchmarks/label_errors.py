"""Plant label errors of five kinds in a data set, and measure how many of the suspects of a report are planted.

    python benchmarks/label_errors.py plant DATA PLANTED             # a copy with errors in 10 % of the training masks
    maskpencil train PLANTED --time-budget 10m --out RUN
    python benchmarks/label_errors.py score DATA PLANTED RUN/model   # with cleanlab installed also its rankings

The masks of DATA must hold class numbers, and it must have the folders images/train and masks/train. A suspected region
counts as right if at least half of it has a planted label, a suspected mask if its errors concern the whole mask.
"""

import argparse
import json
import shutil
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.evaluation import match_classes, neighboring_frames
from maskpencil.label_maps import LabelMap
from maskpencil.predictor import Predictor
from maskpencil.report.label_errors import NEIGHBORS, REGION, LabelErrors, Suspect
from maskpencil.segmenter import Segmenter

KINDS = ("swapped class", "deleted object", "shifted by 4 pixels", "coarse polygons", "mask of another image")
WHOLE = KINDS[2:]
SHARE = 0.1
TRUTH = "planted.json"


def plant(data: Path, out: Path, seed: int) -> None:
    """Write a copy of a data set with planted errors, whose images are links, and a list of the errors."""
    random = np.random.default_rng(seed)
    folder = open_folder(data)
    names = [pair.name for pair in folder.pairs("train")]
    paths = {path.stem: path for path in (data / "masks/train").iterdir()}
    order = random.permutation(len(names))[: round(SHARE * len(names))]
    for path in data.rglob("*"):
        if path.is_file():
            (out / path.relative_to(data)).parent.mkdir(parents=True, exist_ok=True)
            (out / path.relative_to(data)).symlink_to(path.resolve())
    truth = {}
    for number, index in enumerate(order.tolist()):
        kind, path = KINDS[number % len(KINDS)], paths[names[index]]
        with Image.open(path) as image:
            mask, palette = np.array(image), image.getpalette()
        other = np.array(Image.open(paths[names[(index + len(names) // 2) % len(names)]]))
        made = Image.fromarray(planted(mask, kind, len(folder.classes), random, other))
        if palette:
            made.putpalette(palette)
        file = out / "masks/train" / path.name
        file.unlink()
        made.save(file)
        truth[names[index]] = kind
    (out / TRUTH).write_text(json.dumps(truth, indent=1))
    print(Counter(truth.values()))


def planted(mask: LabelMap, kind: str, classes: int, random: np.random.Generator, other: LabelMap) -> LabelMap:
    """Return a mask (H, W) with an error of a kind; `other` is the mask of another image."""
    changed = mask.copy()
    if kind == KINDS[4]:
        return other
    if kind == KINDS[2]:
        down, right = ((0, 4), (0, -4), (4, 0), (-4, 0))[random.integers(4)]
        rows, columns = np.indices(mask.shape)
        return mask[(rows - down).clip(0, mask.shape[0] - 1), (columns - right).clip(0, mask.shape[1] - 1)]
    if kind == KINDS[3]:
        for index in np.argsort(-np.bincount(mask.ravel(), minlength=classes)[:classes]).tolist():
            found, _ = cv2.findContours((mask == index).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            coarse = [cv2.approxPolyDP(ring, 8, True) for ring in found if cv2.contourArea(ring) >= 60]
            cv2.fillPoly(changed, [ring for ring in coarse if len(ring) > 2], index)
        return changed
    least = 400 if kind == KINDS[0] else 100
    regions = [
        (index, ids == region)
        for index in range(classes)
        for count, ids, stats, _ in [cv2.connectedComponentsWithStats((mask == index).astype(np.uint8))]
        for region in range(1, count)
        if least <= stats[region, cv2.CC_STAT_AREA] <= (0.25 if kind == KINDS[0] else 0.05) * mask.size
    ]
    index, region = regions[random.integers(len(regions))]
    if kind == KINDS[0]:
        changed[region] = random.choice([each for each in range(classes) if each != index])
        return changed
    around = (cv2.dilate(region.astype(np.uint8), np.ones((7, 7))) > 0) & ~region & (mask < classes)
    changed[region] = np.bincount(mask[around], minlength=classes)[:classes].argmax()
    return changed


def score(data: Path, out: Path, model: Path) -> None:
    """Print the precision of the suspects, and the average precision of the ranked images, also by cleanlab."""
    segmenter = Segmenter.from_pretrained(model)
    true, folder = (matched(path, segmenter) for path in (data, out))
    truth = json.loads((out / TRUTH).read_text())
    pairs = folder.pairs("train")
    originals = {pair.name: true.read_label_map(pair) for pair in true.pairs("train")}
    errors, labels, predictions, small = LabelErrors(len(segmenter.classes)), [], [], []
    seconds = 0.0
    for pair in pairs:
        image, label_map = folder.read_pair(pair)
        probabilities = segmenter.probabilities_batch([image])[0]
        prediction, confidence = probabilities.argmax(axis=0).astype(np.uint8), probabilities.max(axis=0)
        started = time.perf_counter()
        errors.add(label_map, prediction, confidence)
        seconds += time.perf_counter() - started
        labels.append(label_map)
        predictions.append(prediction)
        small.append(probabilities[:, ::2, ::2].astype(np.float16))  # cleanlab holds all of them in memory
    suspects = errors.ranked(neighboring_frames(pairs, NEIGHBORS))
    print(f"{len(suspects)} suspects, {1000 * seconds / len(pairs):.1f} ms an image")

    def kind(suspect: Suspect) -> str | None:
        name = pairs[suspect.image].name
        if suspect.kind != REGION:
            return truth.get(name) if truth.get(name) in WHOLE else None
        x0, y0, x1, y1 = suspect.box
        window = slice(y0, y1), slice(x0, x1)
        label, would_be = labels[suspect.image][window], predictions[suspect.image][window]
        inside = (label == suspect.label) & (would_be == suspect.would_be)
        wrong = inside & (label != originals[name][window])
        return truth.get(name) if 2 * wrong.sum() >= inside.sum() else None

    kinds = [kind(suspect) for suspect in suspects]
    for count in (20, 50, 100):
        print(f"precision of the first {count}: {np.mean([each is not None for each in kinds[:count]]):.2f}")
    print("the first 50:", dict(Counter(kinds[:50])))
    ranks = np.zeros(len(pairs))
    for rank, suspect in enumerate(suspects):
        ranks[suspect.image] = max(ranks[suspect.image], len(suspects) - rank)
    rankings = {"suspects": ranks, **by_cleanlab(np.stack(labels)[:, ::2, ::2], np.stack(small))}
    planted_kinds = np.array([truth.get(pair.name, "") for pair in pairs])
    print("average precision of the images, all kinds and each kind against the images without an error")
    for name, values in rankings.items():
        each = [
            average_precision(values[keep], planted_kinds[keep] == kind)
            for kind in KINDS
            for keep in [(planted_kinds == kind) | (planted_kinds == "")]
        ]
        print(
            f"{name:<20} {average_precision(values, planted_kinds != ''):.2f}  ",
            "  ".join(f"{value:.2f}" for value in each),
        )


def matched(path: Path, segmenter: Predictor) -> DataFolder:
    return match_classes(open_folder(path, classes=segmenter.classes), segmenter.classes)[0]


def by_cleanlab(
    labels: npt.NDArray[np.uint8], probabilities: npt.NDArray[np.float16]
) -> dict[str, npt.NDArray[np.float64]]:
    """Return cleanlab's rankings of the images; ignored pixels, which it does not know, count as predicted rightly."""
    try:
        from cleanlab.segmentation.rank import get_label_quality_scores
    except ImportError:
        return {}
    sure = probabilities.astype(np.float32)
    sure /= sure.sum(axis=1, keepdims=True)
    given = np.where(labels == 255, sure.argmax(axis=1), labels).astype(np.int64)
    ways = {"cleanlab softmin": {}, "cleanlab's issues": {"method": "num_pixel_issues", "downsample": 4}}
    return {name: -get_label_quality_scores(given, sure, verbose=False, **way)[0] for name, way in ways.items()}


def average_precision(values: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]) -> float:
    hits = positive[np.argsort(-values, kind="stable")]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("plant", "score"))
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.step == "plant":
        shutil.rmtree(given.paths[1], ignore_errors=True)
        plant(*given.paths, given.seed)
    else:
        score(*given.paths)
