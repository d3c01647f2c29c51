"""Print what went wrong and what to do: suggestions for options, lack of memory, bugs, and warnings of packages."""

import errno
import logging
import re
import sys
import traceback
import warnings
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TextIO, get_args

from cyclopts import App, CoercionError, CycloptsError, MissingArgumentError, UnknownOptionError, UnusedCliTokensError

from maskpencil.errors import MaskPencilError, OutputError, first_line
from maskpencil.files import cache_folder, written_whole
from maskpencil.plain_text import visible
from maskpencil.terminal import say

_NO_MEMORY = re.compile(
    r"bad[ _]alloc|out ?of ?memory|(can'?t|cannot|unable to|failed to) (allocate|map segment|create file mapping)"
    r"|can'?t start new thread|not enough memory|insufficient memory|DefaultCPUAllocator"
    r"|cannot (allocate|apply) (memory|additional memory)|killed by signal: Killed|terminated abruptly",
    re.IGNORECASE,
)
"""Parts of the messages of Python, NumPy, torch, OpenVINO, OpenCV, the linker and process pools for lack of memory."""

_NAME_FILES = (OSError, ValueError, LookupError, MaskPencilError)
"""Errors whose messages may contain the names of files and are therefore not searched for `_NO_MEMORY`."""

_LESS_MEMORY = {
    "predict": "use --memory 256MiB or a smaller --image-size",
    "serve": "use --memory 256MiB or a smaller --image-size",
    "train": "use a smaller --batch-size, --crop-size or --image-size, or --accumulate 2",
    "evaluate": "use a smaller --image-size",
    "check": "read fewer files at once with --processes 1",
}


def say_failure(error: Exception, command: str) -> None:
    """Print to standard error, in one line, why a command ended and what to do."""
    if reason := memory_refused(error):
        less = _LESS_MEMORY.get(command, "use smaller images or a smaller model")
        remedies = [*_raised_limit(), *([] if isinstance(error, ImportError) else [less]), "close other programs"]
        say(f"error: there is not enough memory ({reason}); {', or '.join(remedies)}")
        return
    place = traceback.extract_tb(error.__traceback__)[-1]
    say(
        f"error: {type(error).__name__}: {first_line(error)} ({Path(place.filename).name}, line {place.lineno}); "
        f"this is a bug in maskpencil; please report it with {_kept_traceback(error)}"
    )


def memory_refused(error: BaseException | None) -> str:
    """Return the message of the first out-of-memory error among `error` and its causes; "" if there is none."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:  # an error may be its own cause
        seen.append(error)
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return first_line(error)
        lines = [] if isinstance(error, _NAME_FILES) else str(error).splitlines()
        if found := [line.strip() for line in lines if _NO_MEMORY.search(line)]:
            return found[0][:200]
        error = error.__cause__ or error.__context__
    return ""


def say_traceback(error: BaseException) -> None:
    """Print the traceback of an error to standard error."""
    for line in _traceback(error):
        say(line)


def _traceback(error: BaseException) -> Sequence[str]:
    return "".join(traceback.format_exception(error)).splitlines()


def _kept_traceback(error: BaseException) -> str:
    """Write the traceback to a file in the cache, and return the path of the file as text for a message.

    An error of a long run may be hard to reproduce.
    """
    place = cache_folder("errors") / "traceback.txt"
    try:
        with written_whole(place) as temporary:
            temporary.write_text("\n".join(map(visible, _traceback(error))) + "\n", encoding="utf-8")
    except OutputError:
        return "the output of the same command with --debug"
    return f"{place}, or with the output of the same command with --debug"


def _raised_limit() -> list[str]:
    """Return a list with the advice to raise the memory limit of this process; [] if the process has no limit."""
    if sys.platform == "win32":
        return []
    import resource

    limits = {resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)}
    limits.discard(resource.RLIM_INFINITY)
    return [f"raise the limit of {min(limits) / 2**30:.1f} GiB that is set for this process (ulimit)"] if limits else []


def as_plain_lines(*, quiet: bool) -> None:
    """Make Python print later warnings, and log records without a handler, in one line each.

    Args:
        quiet: whether to leave out Pillow's warnings.
    """
    if quiet:  # the faults of images are reported in our own words
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    warnings.showwarning = _show_warning
    if logging.lastResort:
        logging.lastResort.setFormatter(_PlainFormatter())


class _PlainFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,  # noqa: ARG001 - the source line, which does not fit in one line
) -> None:
    say(f"warning: {message} ({category.__name__} in {filename}, line {lineno})", file=file)


EXAMPLES = {
    "check": "maskpencil check DATA",
    "convert": "maskpencil convert DATA --to coco",
    "train": "maskpencil train DATA",
    "evaluate": "maskpencil evaluate MODEL DATA",
    "report": "maskpencil report MODEL DATA",
    "export": "maskpencil export MODEL --to onnx",
    "verify": "maskpencil verify model.onnx MODEL",
    "page": "maskpencil page MODEL",
    "quantize": "maskpencil quantize MODEL DATA",
    "predict": "maskpencil predict MODEL photo.jpg",
    "serve": "maskpencil serve MODEL",
    "heatmap": "maskpencil heatmap vgg16 photo.jpg --class tabby",
    "benchmark": "maskpencil benchmark MODEL",
    "import": "maskpencil import fcn8s-heavy-pascal.caffemodel",
    "info": "maskpencil info MODEL",
    "demo": "maskpencil demo",
}
"""An example of each command."""

COMMANDS_MEANT = {
    "predict": "segment segmentation infer inference detect test-image run apply color colour colorize visualize",
    "evaluate": "test val valid validate validation eval score scores metrics",
    "report": "summary html compare analysis explain quality label-errors",
    "train": "fit finetune fine-tune learn resume training trainer",
    "check": "lint inspect analyze analyse stats dataset data doctor",
    "convert": "transform to-coco to-yolo export-data annotate annotations",
    "export": "onnx to-onnx deploy torchscript coreml tflite openvino engine save-model",
    "verify": "parity compare-export check-export",
    "page": "html web webpage browser site gradio streamlit",
    "quantize": "quantise quantization int8 compress optimize ptq",
    "serve": "server http api rest web webserver daemon listen host endpoint",
    "info": "list ls models backbones recipes summary describe env show settings",
    "benchmark": "bench speed time profile",
    "heatmap": "cam gradcam grad-cam classify explain",
    "import": "load caffe download",
    "demo": "example examples tutorial quickstart start",
    "--version": "version -v -V --v",
}
"""The names of commands in other tools, and the corresponding commands."""

OPTIONS_MEANT = {
    "--learning-rate": "lr lr0 rate base-lr initial-lr init-lr max-lr",
    "--batch-size": "batch bs batchsize train-batch-size per-device-train-batch-size mini-batch b",
    "--epochs": "epoch e ep n-epochs num-epochs max-epochs nb-epochs num-train-epochs iterations",
    "--backbone": "model arch architecture encoder encoder-name net network m model-name base",
    "--image-size": "imgsz img-size img size input-size imagesize resolution image-height long-side resize",
    "--crop-size": "crop patch-size crop-height random-crop window",
    "--out": "output output-dir outdir out-dir o save-dir save-path project name work-dir workdir dest destination "
    "results log-dir logdir run-dir experiment exp output-path output-folder",
    "--device": "gpu gpus cuda cpu mps accelerator devices use-gpu gpu-id gpu-ids no-cuda",
    "--workers": "num-workers n-workers dataloader-workers j jobs n-jobs nproc",
    "--processes": "workers num-workers n-workers j jobs n-jobs nproc threads",
    "--weights": "pretrained pretrain encoder-weights pretrained-weights",
    "--resume": "checkpoint ckpt ckpt-path resume-from continue resume-from-checkpoint skip-existing",
    "--init": "start-from finetune init-from load load-from",
    "--loss": "loss-fn loss-function criterion",
    "--optimizer": "optim opt optimiser solver",
    "--weight-decay": "wd decay l2",
    "--schedule": "scheduler lr-scheduler lr-schedule lr-policy",
    "--time-budget": "time max-time budget minutes hours max-minutes",
    "--precision": "amp half fp16 bf16 fp32 mixed-precision dtype use-amp",
    "--accumulate": "accumulate-grad-batches gradient-accumulation-steps grad-accum accum accumulation",
    "--average": "ema use-ema model-ema",
    "--clip-norm": "clip-grad grad-clip clip max-norm gradient-clip-val max-grad-norm",
    "--sync-batch-norm": "sync-bn syncbn",
    "--output": "outputs raw-logits return-logits",
    "--data": "dataset calibration-data calib-data samples",
    "--class-weights": "class-weight weighted balance",
    "--flip": "hflip fliplr horizontal-flip",
    "--color-jitter": "jitter hsv-h hsv-s hsv-v brightness contrast",
    "--validate-every": "val-interval eval-interval eval-every val-check-interval val-period",
    "--checkpoint-minutes": "save-period save-every save-interval",
    "--tracker": "wandb logger tensorboard mlflow report-to",
    "--seed": "random-seed random-state manual-seed",
    "--split": "val test subset set task",
    "--split-file": "splits val-split train-list val-list test-split fold",
    "--images": "image-dir img-dir images-dir image-folder train-images",
    "--masks": "mask-dir masks-dir mask-folder labels label-dir ann-dir annotations-dir",
    "--augment": "tta augmentation augmentations multi-scale",
    "--abstain": "conf conf-thres confidence-threshold conf-thresh min-confidence score-threshold conf-threshold",
    "--threshold": "thresh thres th prob-threshold",
    "--confidence": "probabilities probs save-conf scores proba",
    "--opacity": "alpha transparency blend",
    "--class": "class-name cls target",
    "--region-classes": "classes class",
    "--regions": "polygons boxes instances save-json save-txt objects contours",
    "--annotations": "labelme coco cvat export-annotations",
    "--memory": "max-memory mem ram batch-size batch bs b",
    "--tile": "tile-size tiles sliding-window window patch patch-size crop-size slice",
    "--every": "vid-stride frame-stride skip step frame-step stride",
    "--start": "from begin start-time ss",
    "--end": "until end-time",
    "--show": "view view-img display imshow",
    "--to": "format formats f target-format output-format type",
    "--json": "json-file report save-json output-json output out o",
    "--runtime": "backend engine provider",
    "--max-drop": "tolerance max-loss",
    "--calibration-images": "num-images samples calib-size calibration-size",
    "--repeats": "iters iterations rounds runs n",
    "--compile": "torch-compile jit",
    "--port": "p http-port server-port",
    "--host": "ip bind address interface server-name listen",
    "--token-file": "token api-key key auth secret password auth-token",
    "--open": "public share insecure no-auth",
    "--allow-host": "allowed-hosts allowed-host hostname trusted-host",
    "--max-body": "max-file-size max-size max-upload max-upload-size max-request-size limit-size",
    "--queue": "max-queue queue-size backlog max-waiting max-queue-size limit-concurrency",
    "--timeout": "time-out request-timeout queue-timeout",
    "--max-video": "max-video-size video-size",
    "--video-quota": "quota disk-quota max-disk disk",
    "--video-folder": "temp-dir tmp-dir tmpdir upload-dir video-dir upload-folder cache-dir",
    "--keep": "retention ttl expire expiry keep-for",
    "--dropout": "drop drop-rate dropout-rate",
    "--fix": "repair clean autofix",
}
"""The names of options in other tools, and the corresponding options; the first option that the command has is used."""

ARGUMENTS_MEANT = {
    "DATA": "data dataset data-dir data-path data-root root dataroot dataset-dir train-dir input-dir path folder dir "
    "train-data data-folder source input d images-path",
    "IMAGES": "source input inputs input-dir image images img img-path image-path file files path folder video in i "
    "input-path input-folder test-dir s",
    "MODEL": "model weights checkpoint ckpt model-path model-dir m w load pretrained model-folder weight network "
    "checkpoint-path",
}
"""The names of options in other tools that are positional arguments here."""

NOT_NEEDED = {
    "num-classes nc n-classes classes number-of-classes": "the number of classes follows from classes.yaml or from "
    "the masks; see maskpencil check DATA",
    "verbose v quiet q log-level progress silent": "all messages are always printed; --debug adds the "
    "traceback of an error",
    "multi-gpu ddp distributed nproc-per-node num-gpus world-size dp": "start several processes with torchrun "
    "--nproc-per-node 2 -m maskpencil train DATA",
    "patience early-stopping early-stop": "the best model so far is kept in any case; set --epochs or --time-budget",
    "config cfg conf yaml hyp": "settings are given as options; the settings of a run are in its config.yaml",
    "ignore-index ignore void": "pixels with the value 255, or with the ignore_index in classes.yaml, are ignored",
    "yes y force overwrite exist-ok f": "nothing is overwritten: if a folder exists, a number is appended to the name",
    "fp16 half amp": "commands that support it have --precision fp16",
}
"""Options of other tools that this program does not need, and the reason."""

VALUES_MEANT = {
    "--device": {"cuda": "gpu gpus nvidia", "mps": "metal apple m1", "auto": "any best"},
    "--precision": {
        "fp16": "16 half float16 f16 16-mixed",
        "fp32": "32 float float32 full f32 single",
        "bf16": "bfloat16 bf16-mixed bfloat",
        "int8": "8 i8 quantized",
    },
    "--weights": {"fp16": "half float16 f16", "fp32": "float32 float full", "int8": "quantized i8"},
    "--runtime": {
        "openvino": "ov cpu intel",
        "torch": "pytorch pt eager cuda gpu tensorrt",
        "onnx": "onnxruntime ort onnx-runtime",
    },
    "--to": {"voc": "pascal pascal-voc pascalvoc", "yolo": "yolov8 yolov5 ultralytics", "coco": "ms-coco mscoco"},
    "--annotations": {"voc": "pascal pascal-voc pascalvoc", "yolo": "yolov8 yolov5 ultralytics", "coco": "ms-coco"},
    "--split": {"val": "valid validation dev eval", "train": "training", "test": "testing"},
    "--optimizer": {"adamw": "adam-w", "sgd": "momentum nesterov", "lbfgs": "l-bfgs"},
    "--schedule": {"one-cycle": "cosine onecycle one_cycle poly linear cos", "constant": "none fixed off"},
    "--regions": {"json": "true yes list", "geojson": "geo-json gis", "coco": "ms-coco"},
    "--freeze": {"backbone": "encoder trunk true yes", "none": "false no off"},
    "--masks": {"video": "mp4 mkv", "png": "images frames"},
}
"""Values of options in other tools, and the corresponding values."""


def instead_of_command(word: str, commands: Iterable[str]) -> str:
    """Return the end of an error message: the command that was probably meant, or all commands."""
    plain = word.lower().replace("_", "-")
    for command, words in COMMANDS_MEANT.items():
        if plain in words.split() and (command in commands or command.startswith("--")):
            return f"; use {command}: {EXAMPLES.get(command, f'maskpencil {command}')}"
    if close := get_close_matches(plain, commands, 1, cutoff=0.65):
        return f"; did you mean {close[0]}?"
    return f"; the commands are {', '.join(commands)}"


def explained(error: CycloptsError, name: str, words: Sequence[str], app: App) -> str:
    """Explain in one line why a command line is invalid, and what to type instead.

    Args:
        error: the error that cyclopts raised.
        name: the name of the command.
        words: the words typed after the name.
        app: the command as a cyclopts app, which defines the options.
    """
    options = [option for argument in app.assemble_argument_collection() for option in argument.names]
    options = [option for option in options if option.startswith("--")]
    if isinstance(error, UnknownOptionError | MissingArgumentError | UnusedCliTokensError):
        for word in words:  # what is missing or superfluous may only have been given to an option that is unknown
            option = word.partition("=")[0]
            if _is_option(option) and option.replace("_", "-") not in options and option != "-h":
                return f"{name} has no option {option}{_instead_of_option(option, name, options)}"
    if isinstance(error, MissingArgumentError) and error.argument:
        missing = error.argument.name
        if not _is_option(missing):
            return f"{name} needs {missing}: {EXAMPLES[name]}"
        if missing in words or error.keyword:
            return f"{error.keyword or missing} needs a value after it"
        return f"{name} needs {missing}: {EXAMPLES[name]}"
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        more = " ".join(map(repr, error.unused_tokens))
        return f"{name} takes no more arguments, but got {more}: {EXAMPLES[name]}"
    if isinstance(error, CoercionError) and error.token and error.token.keyword:
        option, value = error.token.keyword, error.token.value
        if hint := _instead_of_value(option, value, get_args(error.target_type), name):
            return f"{option} cannot be {value!r}; {hint}"
    return " ".join(str(error).split()).rstrip(".")


def _is_option(word: str) -> bool:
    return word.startswith("-") and not word.lstrip("-")[:1].isdigit() and word not in ("-", "--")


def _instead_of_option(option: str, name: str, options: Sequence[str]) -> str:
    word = option.lstrip("-").lower().replace("_", "-")
    arguments = EXAMPLES[name].replace("photo.jpg", "IMAGES").split()[2:]
    is_model = "MODEL" in arguments
    for meant, words in ARGUMENTS_MEANT.items():
        if word in words.split() and meant in arguments:
            return f"; {meant} is given without an option: {EXAMPLES[name]}"
    for meant, words in OPTIONS_MEANT.items():
        if word in words.split() and meant in options:
            return f"; use {_typed(meant, word)}"
    for known, reason in NOT_NEEDED.items():
        if word in known.split():
            return f"; {reason}"
    if word == "learning-rate" or (is_model and word in OPTIONS_MEANT["--backbone"].split()):
        return f"; it is a setting of maskpencil train, see {EXAMPLES[name]}"
    close = get_close_matches(f"--{word}", options, 1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _typed(option: str, word: str) -> str:
    """Return what to type in place of `word`, an option of another tool: `option`, with a value where one is known.

    For example "--device cpu" in place of `no-cuda`.
    """
    values = {
        "--device": {"cpu": "cpu", "mps": "mps", "no-cuda": "cpu"}.get(word, "cuda"),
        "--precision": {"bf16": "bf16", "fp32": "fp32"}.get(word, "fp16"),
        "--weights": "imagenet",
        "--average": "0.99",
        "--augment": "flip",
        "--class-weights": "median-frequency",
        "--tracker": word if word in ("wandb", "mlflow") else "wandb",
    }
    return f"{option} {values[option]}" if option in values else option


def _instead_of_value(option: str, value: str, choices: Sequence[object], name: str) -> str:
    """Return the advice to use another value in place of an invalid `value`; "" if no other value is known."""
    plain = value.lower().replace("_", "-")
    kind, _, number = plain.partition(":")
    if option == "--device" and (plain.replace(",", "").isdigit() or (kind in ("cuda", "gpu") and number)):
        number = number or plain
        return f"type CUDA_VISIBLE_DEVICES={number} maskpencil {name} ... --device cuda for that GPU"
    for choice in choices:
        words = VALUES_MEANT.get(option, {}).get(str(choice), "").split()
        if plain == choice or plain in words:
            return f"use {option} {choice}"
    return ""
