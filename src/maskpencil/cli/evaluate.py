"""`maskpencil evaluate`."""

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from maskpencil.cli.options import Device, ModelFolder, Precision
from maskpencil.files import written_whole
from maskpencil.metrics import Scores
from maskpencil.progress import ProgressBar


def command(
    model: ModelFolder,
    data: Annotated[Path, Parameter(help="A folder of pictures and masks with the model's classes.")],
    /,
    *,
    split: Annotated[Literal["train", "val", "test"], Parameter(help="Which pictures of the folder.")] = "val",
    json_file: Annotated[Path | None, Parameter(name="--json", help="Also write the scores to this file.")] = None,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Score a model on a labelled folder: one confusion matrix over all its pixels."""
    from maskpencil.data.folder import open_folder
    from maskpencil.evaluation import evaluate
    from maskpencil.segmenter import Segmenter

    segmenter = Segmenter.from_pretrained(model, device=device, precision=precision)
    folder = open_folder(data, classes=segmenter.classes)
    with ProgressBar("evaluating", len(folder.pairs(split))) as bar:
        scores = evaluate(segmenter, folder, split=split, report=bar.update_of)
    print(table(scores))
    if json_file:
        with written_whole(json_file) as temporary:
            temporary.write_text(json.dumps(scores.to_dict(), indent=2) + "\n", encoding="utf-8")


def table(scores: Scores) -> str:
    """The scores as aligned text, classes first."""
    width = max(len(name) for name in (*scores.classes, "class"))
    total = sum(each.pixels for each in scores.classes.values()) or 1
    lines = [f"{'class':<{width}}     IoU  accuracy   share of pixels"]
    for name, each in scores.classes.items():
        iou, accuracy = (f"{v:.4f}" if v is not None else "-" for v in (each.iou, each.accuracy))
        lines.append(f"{name:<{width}}  {iou:>6}  {accuracy:>8}   {each.pixels / total:>15.2%}")
    lines += [
        "",
        f"{'mean IoU':<24} {scores.mean_iou:.4f}",
        f"{'pixel accuracy':<24} {scores.pixel_accuracy:.4f}",
        f"{'mean accuracy':<24} {scores.mean_accuracy:.4f}",
        f"{'frequency weighted IoU':<24} {scores.frequency_weighted_iou:.4f}",
        f"{'images':<24} {scores.images}",
    ]
    return "\n".join(lines)
