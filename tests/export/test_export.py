"""Exported files give the model's masks, and the gate refuses those that do not."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from maskpencil.classes import ClassSet
from maskpencil.cli import main
from maskpencil.cli.options import FILE_COMMANDS
from maskpencil.errors import ConfigError, ImageError, ModelError, OutputError
from maskpencil.evaluation import evaluate
from maskpencil.export import ExportOptions, export_model, network, parity, verify_export
from maskpencil.export.network import ExportedNetwork
from maskpencil.export.parity import Comparison, drawn_samples
from maskpencil.exported import Engine, ExportedModel, ExportFacts
from maskpencil.images import read_image, write_image
from maskpencil.inference.predict import predict
from maskpencil.label_maps import read_mask_pixels
from maskpencil.model_folder import ModelParts
from maskpencil.segmenter import Segmenter

CLASSES = ClassSet(("ground", "box", "<b>ball|"), ((60, 110, 60), (210, 70, 50), (50, 80, 220)))


@pytest.fixture
def segmenter(make_segmenter, smallest_backbone) -> Segmenter:
    return make_segmenter(smallest_backbone, classes=CLASSES)


@pytest.fixture
def model(segmenter, tmp_path) -> Path:
    segmenter.save(tmp_path / "run" / "model")
    return tmp_path / "run" / "model"


@pytest.fixture
def photos(tmp_path) -> list[Path]:
    paths = []
    for number, size in enumerate([(33, 47), (64, 96), (90, 50)]):
        image = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
        paths.append(tmp_path / f"photo{number}.png")
        write_image(paths[-1], image)
    return paths


def masks(model: object, photos: list[Path], out: Path) -> dict[str, bytes]:
    predict(model, photos, out=out)
    return {path.name: path.read_bytes() for path in sorted((out / "masks").iterdir())}


@pytest.mark.slow
def test_all_forms_give_the_masks_of_the_model_and_so_do_the_programs_of_the_readme(
    model, photos, tmp_path, forks
) -> None:
    out = tmp_path / "out"
    result = export_model(model, out, options=ExportOptions(to=("onnx", "openvino", "torch")))
    assert [path.name for path in result.files] == ["model.onnx", "model.xml", "model.pt2"]
    assert {*map(str, (path.name for path in out.iterdir()))} == {
        *("model.onnx", "model.xml", "model.bin", "model.pt2", "README.md", "parity.json")
    }
    stored = json.loads((out / "parity.json").read_text())
    for form, own in result.parities.items():
        assert own.faults == []
        assert own.images == 8
        assert own.pixels > 800_000
        assert stored[network.FILES[form][0]]["equal"] == own.equal
    expected = masks(Segmenter.from_pretrained(model, runtime="torch", precision="fp32"), photos, tmp_path / "a")
    assert masks(out / "model.onnx", photos, tmp_path / "b") == expected
    assert masks(out / "model.xml", photos, tmp_path / "c") == expected
    readme = (out / "README.md").read_text()
    assert "| 2 | &lt;b&gt;ball\\| | 50, 80, 220 |" in readme
    programs = dict(re.findall(r"python run_(\w+)\.py .*?```python\n(.*?)```", readme, flags=re.DOTALL))
    assert {*programs} == {"onnx", "openvino", "torch"}
    for form, program in programs.items():
        assert len(program.strip().splitlines()) <= 15
        for photo in (
            photos[:1] if form == "torch" else photos
        ):  # torch needs seconds for each; the gate compared all sizes
            mask = tmp_path / f"{photo.stem}_{form}.png"
            done = forks.run(program, photo, mask, folder=out)
            assert done.returncode == 0, done.stderr
            if form == "torch":  # which does not know the palette
                same = (
                    read_image(mask)[..., 0] == read_mask_pixels(tmp_path / "a" / "masks" / f"{photo.stem}.png").values
                )
                assert same.all()
            else:
                assert mask.read_bytes() == expected[f"{photo.stem}.png"]


@pytest.mark.slow
def test_logits_give_all_that_probabilities_are_needed_for(model, photos, tmp_path) -> None:
    result = export_model(model, tmp_path / "out", options=ExportOptions(output="logits"))
    assert result.parities["onnx"].faults == []
    exported = ExportedModel.from_file(tmp_path / "out" / "model.onnx")
    segmenter = Segmenter.from_pretrained(model, precision="fp32")
    image = read_image(photos[0])
    (one,), (other,) = (each.predict_batch([image], confidence=True, entropy=True) for each in (exported, segmenter))
    assert (one.label_map == other.label_map).all()
    np.testing.assert_allclose(one.confidence, other.confidence, atol=1e-5)
    np.testing.assert_allclose(one.entropy, other.entropy, atol=1e-5)
    ((_, one),), ((_, other),) = (each.predict_class([image], 1) for each in (exported, segmenter))
    np.testing.assert_allclose(one, other, atol=1e-5)
    assert exported.title == "cpu by onnx, exported in fp32"
    assert "logits.argmax(1)" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_half_precision_halves_the_file(form, make_segmenter, tmp_path) -> None:
    make_segmenter(classes=CLASSES).save(tmp_path / "model")
    small = export_model(tmp_path / "model", tmp_path / "small", options=ExportOptions(to=(form,), weights="fp16"))
    large = export_model(tmp_path / "model", tmp_path / "large", options=ExportOptions(to=(form,)))
    assert small.parities[form].faults == []
    assert small.parities[form].share >= 0.995
    assert small.sizes[form] < 0.65 * large.sizes[form]
    assert ExportedModel.from_file(small.files[0]).facts.weights == "fp16"


@pytest.mark.slow
def test_int8_is_calibrated_and_scored_on_data(make_segmenter, tiny_folder, tmp_path, monkeypatch, capsys) -> None:
    classes = ClassSet(("ground", "box", "ball"))
    make_segmenter(classes=classes).save(tmp_path / "model")
    with pytest.raises(ConfigError, match=r"int8 needs images and masks for calibration .* give them with --data DATA"):
        export_model(tmp_path / "model", tmp_path / "out", options=ExportOptions(weights="int8"))
    command = ["export", str(tmp_path / "model"), "--to", "onnx", "--weights", "int8", "--data", str(tiny_folder)]
    assert main([*command, "--out", str(tmp_path / "out")]) == 1  # random scores are close to each other
    assert re.search(r"model\.onnx: .*only 9\d\.\d+% of the pixels have the same class", capsys.readouterr().err)
    monkeypatch.setitem(parity.LEAST_EQUAL, "int8", 0.9)
    monkeypatch.setattr(parity, "MAX_DROP", 5)
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert re.search(r"model\.onnx .*, [+-]\d\.\d\d points of mean IoU lost", capsys.readouterr().out)
    exported = ExportedModel.from_file(tmp_path / "out" / "model.onnx")
    assert exported.facts.weights == "int8"
    before = evaluate(Segmenter.from_pretrained(tmp_path / "model", precision="fp32"), tiny_folder).mean_iou
    assert evaluate(exported, tiny_folder).mean_iou == pytest.approx(before, abs=0.05)
    large = export_model(tmp_path / "model", tmp_path / "large")
    assert (tmp_path / "out" / "model.onnx").stat().st_size < 0.5 * large.sizes["onnx"]


class Mutated(ExportedNetwork):
    """An exported network with one of the faults that exports of other tools have."""

    def __init__(self, parts: ModelParts, fault: str) -> None:
        super().__init__(parts, "labels")
        self.fault = fault

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.fault == "red and blue are swapped":
            pixels = pixels.flip(-1)
        if self.fault == "shifted by a pixel":
            pixels = pixels.roll(1, dims=2)
        images = pixels.permute(0, 3, 1, 2)
        normalized = images / 255 if self.fault == "not normalized" else self.preprocessing.normalize(images)
        logits = self.network(normalized)
        if self.fault == "corners are aligned":
            scores = self.network.coarse_scores(normalized)
            logits = nn.functional.interpolate(scores, logits.shape[-2:], mode="bilinear", align_corners=True)
        if self.fault == "a bias is off":
            logits[:, 1] += 0.5
        return logits.argmax(dim=1).to(torch.uint8), logits.softmax(dim=1).amax(dim=1)


FAULTS = ("red and blue are swapped", "not normalized", "shifted by a pixel", "corners are aligned", "a bias is off")


@pytest.mark.parametrize("fault", ["", *FAULTS])
def test_the_gate_catches_each_fault(fault, make_segmenter) -> None:
    segmenter = make_segmenter(classes=CLASSES)
    parts = ModelParts(segmenter.network, segmenter.classes, segmenter.preprocessing)
    mutated = Mutated(parts, fault)

    def run(pixels):
        with torch.inference_mode():
            return [output.numpy() for output in mutated(torch.from_numpy(pixels))]

    comparison = Comparison(run, segmenter.logits_batch, output="labels", weights="fp32", num_classes=3)
    for sample in drawn_samples():
        comparison.add(sample)
    assert bool(comparison.result().faults) == bool(fault)
    if fault:
        assert comparison.difference.drawn(CLASSES).shape[1] == 3 * comparison.difference.image.shape[1]


@pytest.mark.slow
def test_nothing_is_written_if_the_masks_differ_but_an_image_of_the_difference(
    model, tmp_path, monkeypatch, capsys
) -> None:
    forward = ExportedNetwork.forward
    monkeypatch.setattr(ExportedNetwork, "forward", lambda self, pixels: forward(self, pixels.flip(-1)))
    assert main(["export", str(model), "--out", str(tmp_path / "out")]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert re.match(r"error: model\.onnx: does not give the model's masks \(only [\d.]+% of the pixels", line)
    place = tmp_path / "out-difference" / "difference.png"
    assert f"nothing was written; {place} shows" in line
    assert read_image(place).shape[1] > 100
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_file_is_verified_later_and_that_of_another_model_is_not(
    model, make_segmenter, smallest_backbone, tiny_folder, tmp_path, capsys
) -> None:
    export_model(model, tmp_path / "out", options=ExportOptions(to=("onnx", "openvino")))
    files = [tmp_path / "out" / name for name in ("model.onnx", "model.xml")]
    for file in files:
        assert main(["verify", str(file), str(model)]) == 0
        assert "same class on 895,760 of 895,760 pixels in 8 images" in capsys.readouterr().out
    other = make_segmenter(smallest_backbone, classes=CLASSES)
    with torch.no_grad():
        other.network.score_fr.bias += torch.tensor([0.0, 0.5, 0.0])
    other.save(tmp_path / "other")
    assert main(["verify", str(files[0]), str(tmp_path / "other"), "--out", str(tmp_path / "differ")]) == 1
    assert "does not give the model's masks" in capsys.readouterr().err
    assert (tmp_path / "differ" / "difference.png").is_file()
    make_segmenter(smallest_backbone).save(tmp_path / "others")
    with pytest.raises(ModelError, match=r"has the classes ground, box, .* give the model that was exported"):
        verify_export(files[0], tmp_path / "others")


@pytest.mark.slow
def test_exported_files_replace_model_folders_on_the_command_line(
    make_segmenter, smallest_backbone, tiny_folder, photos, tmp_path, capsys
) -> None:
    make_segmenter(smallest_backbone, classes=ClassSet(("ground", "box", "ball"))).save(tmp_path / "model")
    export_model(tmp_path / "model", tmp_path / "out")
    file = str(tmp_path / "out" / "model.onnx")
    assert main(["predict", file, str(photos[0]), "--out", str(tmp_path / "masks"), "--confidence"]) == 0
    assert "on cpu by onnx, exported in fp32" in capsys.readouterr().out
    assert main(["evaluate", file, str(tiny_folder), "--json", str(tmp_path / "scores.json")]) == 0
    expected = evaluate(Segmenter.from_pretrained(tmp_path / "model", precision="fp32"), tiny_folder).to_dict()
    assert json.loads((tmp_path / "scores.json").read_text())["mean_iou"] == pytest.approx(
        expected["mean_iou"], abs=1e-6
    )
    assert main(["report", file, str(tiny_folder), "--out", str(tmp_path / "report.html")]) == 0
    assert main(["benchmark", file, str(photos[1]), "--repeats", "1", "--out", str(tmp_path / "chart.png")]) == 0
    assert "exported file" in capsys.readouterr().out
    assert main(["benchmark", file, "--device", "cuda"]) == 2
    assert "exported files are run on the CPU; leave --device cuda out" in capsys.readouterr().err
    assert main(["predict", file, str(photos[0]), "--out", str(tmp_path / "few"), "--memory", "64MiB"]) == 2
    assert "--memory does not apply to the exported file" in capsys.readouterr().err
    for option, value in (("--runtime", "torch"), ("--precision", "bf16"), ("--image-size", "64x64")):
        assert main(["evaluate", file, str(tiny_folder), option, value]) == 2
        assert f"{option} does not apply to the exported file" in capsys.readouterr().err
    assert main(["predict", file, str(photos[0]), "--out", str(tmp_path / "more"), "--class", "box"]) == 2
    assert "export the model again with --output logits" in capsys.readouterr().err
    assert main(["train", str(tiny_folder), "--init", file]) in (1, 2)
    assert main(["quantize", file, str(tiny_folder)]) == 1
    assert f"exported files are for {', '.join(FILE_COMMANDS[:-1])} and {FILE_COMMANDS[-1]}" in capsys.readouterr().err
    assert main(["info", file]) == 0
    assert "classes      ground, box, ball" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "model"), file]) == 2
    assert f"give the exported file first: maskpencil verify {file} {tmp_path / 'model'}" in capsys.readouterr().err


def test_what_cannot_be_exported_is_refused_before_anything_is_written(
    model, segmenter, make_segmenter, smallest_backbone, tmp_path, monkeypatch
) -> None:
    with pytest.raises(ConfigError, match="torch programs are written in fp32 only"):
        ExportOptions(to=("onnx", "torch"), weights="fp16")
    with pytest.raises(ConfigError, match="to is empty"):
        ExportOptions(to=())
    with pytest.raises(ConfigError, match="coreml"):
        ExportOptions(to=("coreml",))
    make_segmenter(smallest_backbone, classes=CLASSES, image_size=(64, 96)).save(tmp_path / "scaling")
    with pytest.raises(ConfigError, match=r"scaling: scales images to 64x96 pixels .* give --image-size native"):
        export_model(tmp_path / "scaling", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="full"):
        export_model(model, tmp_path / "full")
    monkeypatch.setattr(network, "MAX_BYTES", 2**24)
    with pytest.raises(ModelError, match=r"an ONNX file can have at most 2 GiB; export it with --to torch"):
        export_model(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["mine.txt"]


def of_others() -> Iterator[tuple[str, bytes, str]]:
    """Files that are not from `maskpencil export`, and what is said of them."""
    from onnx import TensorProto, helper

    node = helper.make_node("Identity", ["pixels"], ["labels"])
    values = [helper.make_tensor_value_info(name, TensorProto.UINT8, None) for name in ("pixels", "labels")]
    graph = helper.make_graph([node], "other", values[:1], values[1:])
    foreign = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])
    yield "foreign.onnx", foreign.SerializeToString(), "is not from maskpencil export"
    foreign.metadata_props.add(key="maskpencil", value='{"version": 99}')
    yield "newer.onnx", foreign.SerializeToString(), "has the version 99 of the format of exports"
    foreign.metadata_props[0].value = '{"version": 1, "classes": 3}'
    yield "damaged.onnx", foreign.SerializeToString(), "its metadata are damaged"
    yield "empty.onnx", b"", "cannot be loaded"
    yield "noise.onnx", bytes(range(256)), "cannot be loaded"
    yield "noise.xml", b"<net>", "cannot be loaded"
    yield "entity.xml", b"<!DOCTYPE net [<!ENTITY a 'b'>]><net/>", "cannot be loaded"


@pytest.mark.parametrize(("name", "content", "said"), [*of_others()], ids=[name for name, *_ in of_others()])
def test_a_file_of_others_is_refused_in_one_line(name, content, said, tmp_path, capsys) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / name).with_suffix(".bin").write_bytes(b"")
    write_image(tmp_path / "photo.jpg", np.zeros((8, 8, 3), np.uint8))
    assert main(["predict", str(tmp_path / name), str(tmp_path / "photo.jpg")]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"error: {tmp_path / name}: ")
    assert said in line


class Fixed(Engine):
    """An engine whose outputs are given."""

    name = "fixed"
    metadata: Mapping[str, str] = {}

    def __init__(self, *outputs: np.ndarray) -> None:
        self.outputs = list(outputs)

    def run(self, pixels: np.ndarray) -> list[np.ndarray]:  # noqa: ARG002
        return self.outputs


def test_outputs_that_are_not_finite_or_of_another_shape_are_an_error_and_never_a_class() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    labels, sure = np.zeros((1, 2, 3), np.uint8), np.ones((1, 2, 3), np.float32)
    good = ExportedModel(Fixed(labels, sure), ExportFacts(CLASSES, "labels", "fp32"))
    assert (good.predict_batch([image])[0].label_map == 0).all()
    nan = np.full_like(sure, np.nan)
    for outputs in ((labels, nan), (labels + 3, sure), (labels,), (labels[:, :1], sure), (labels, sure[:, :1])):
        model = ExportedModel(Fixed(*outputs), ExportFacts(CLASSES, "labels", "fp32"))
        with pytest.raises(ModelError, match="outputs"):
            model.predict_batch([image])
    logits = np.full((1, 3, 2, 3), np.nan, np.float32)
    with pytest.raises(ModelError, match="not finite"):
        ExportedModel(Fixed(logits), ExportFacts(CLASSES, "logits", "fp32")).predict_batch([image])


def test_an_image_that_is_too_large_for_an_exported_file_is_refused_with_the_remedy(monkeypatch) -> None:
    monkeypatch.setattr("maskpencil.exported.MAX_PIXELS", 5)
    model = ExportedModel(Fixed(), ExportFacts(CLASSES, "labels", "fp32"))
    with pytest.raises(ImageError, match=r"3 x 2 pixels is larger than the 5 pixels .* use the model folder"):
        model.predict_batch([np.zeros((2, 3, 3), np.uint8)])


def test_weights_whose_outputs_are_not_finite_or_never_scored_do_not_pass_the_gate() -> None:
    whole = parity.Parity(1, 100, 100, 0, 0.0, 0.0, "fp16")
    assert whole.faults == []
    assert replace(whole, largest_difference=math.inf).faults == ["some outputs are not finite"]
    assert "no pixel of the data is labeled" in replace(whole, weights="int8", drop=None).faults[0]
    assert "mean IoU drops by 0.40 points" in replace(whole, weights="int8", drop=0.4).faults[0]


def test_an_onnx_file_reads_no_other_file(tmp_path, capsys) -> None:
    from onnx import TensorProto, helper

    (tmp_path / "secret").write_bytes(bytes(range(64)))
    tensor = TensorProto(name="secret", data_type=TensorProto.UINT8, dims=[64], data_location=TensorProto.EXTERNAL)
    for place in ("secret", str(tmp_path / "secret"), "../secret"):
        del tensor.external_data[:]
        tensor.external_data.add(key="location", value=place)
        node = helper.make_node("Identity", ["secret"], ["labels"])
        output = helper.make_tensor_value_info("labels", TensorProto.UINT8, [64])
        graph = helper.make_graph([node], "reads", [], [output], [tensor])
        model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(ModelError, match="cannot be loaded"):
            ExportedModel.from_file(tmp_path / "model.onnx")
