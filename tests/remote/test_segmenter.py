"""A server as a model: what it gives is what the model gives, byte for byte."""

import numpy as np
import pytest
from PIL import Image
from tests.helpers import noise
from tests.server.clients import Probable, encoded, png

import maskpencil as mp
from maskpencil.cli import main
from maskpencil.errors import ConfigError, ImageError, ModelError
from maskpencil.inference import wrappers
from maskpencil.remote import RemoteSegmenter, retries, segmenter
from maskpencil.server import ServeOptions, serve


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A segmenter with a model folder, as a server has it."""
    import torch

    from maskpencil.model_folder import ModelParts, write_model_folder
    from maskpencil.models import FCNConfig, build_fcn
    from maskpencil.preprocessing import Preprocessing

    torch.manual_seed(0)
    built = build_fcn(FCNConfig(3, "test_resnet"), weights="none")
    for name, parameter in built.named_parameters():
        if name.startswith("score"):
            torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path_factory.mktemp("run") / "street" / "model"
    classes = mp.ClassSet(("ground", "box", "ball"), ((60, 110, 60), (210, 70, 50), (50, 80, 220)))
    preprocessing = Preprocessing((0.5, 0.5, 0.5), (0.2, 0.2, 0.2), None)
    write_model_folder(path, ModelParts(built, classes, preprocessing, {}))
    return path


@pytest.fixture(scope="module")
def server(network):
    model = mp.Segmenter.from_pretrained(network, runtime="torch", device="cpu", precision="fp32")
    with serve({"street": model}, options=ServeOptions(port=0)) as running:
        yield running


@pytest.fixture
def photos(tmp_path):
    """Images of several sizes and kinds: upright, turned, transparent in parts, gray; and and one that is damaged."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        Image.fromarray(noise(40 + 8 * (number % 2), 56, number)).save(folder / f"{number}.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(30, 50, 7)).save(folder / "turned.jpg", exif=exif, quality=95)
    clear = np.dstack([noise(30, 50, 8), np.full((30, 50), 255, np.uint8)])
    clear[:10, :, 3] = 0
    Image.fromarray(clear).save(folder / "clear.png")
    Image.fromarray(noise(30, 50, 9)[..., 0]).save(folder / "gray.png")
    (folder / "damaged.png").write_bytes((folder / "0.png").read_bytes()[:900])
    return folder


WORDS = {
    "plain": [],
    "everything": ["--confidence", "--entropy", "--regions", "json", "--min-area", "5"],
    "coco": ["--regions", "coco"],
    "class": ["--class", "ball", "--threshold", "0.3", "--regions", "geojson", "--confidence"],
    "abstain": ["--abstain", "0.45"],
    "augment": ["--augment", "flip", "--no-overlays"],
}


@pytest.mark.parametrize("name", WORDS)
def test_every_file_is_that_of_the_model_itself(name, network, server, photos, tmp_path, capsys):
    outs = tmp_path / "local", tmp_path / "remote"
    local = [network, photos, "--runtime", "torch", "--device", "cpu", "--precision", "fp32"]
    for words, out in ((local, outs[0]), ([f"{server.url}/street", photos], outs[1])):
        assert main(["predict", *map(str, words), *WORDS[name], "--out", str(out)]) == 1  # for the damaged image
        said = capsys.readouterr()
        assert said.err.count("error: ") == 1
        assert "damaged.png" in said.err
        assert "9 images done" in said.out
    left, right = (
        {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        for out in outs
    )
    assert left.keys() == right.keys()
    assert [path for path in left if left[path] != right[path]] == []
    assert len([path for path in left if path.startswith("masks/")]) == 9


def test_arrays_are_those_of_the_model_itself(network, server):
    local = mp.Segmenter.from_pretrained(network, runtime="torch", device="cpu", precision="fp32")
    remote = mp.RemoteSegmenter(server.url)
    assert (remote.classes, remote.name) == (local.classes, "street")
    images = [noise(24, 40, 1), png((30, 20)), noise(17, 33, 2)]
    for one, other in zip(local.predict(images), remote.predict(images), strict=True):
        np.testing.assert_array_equal(one.label_map, other.label_map)
        np.testing.assert_array_equal(one.confidence, other.confidence)
    for one, other in zip(local.probabilities(images), remote.probabilities(images), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(local.probabilities(images[0]), remote.probabilities(images[0]))
    ((one, sure),), ((other, also),) = (each.predict_class(images[:1], 2, confidence=True) for each in (local, remote))
    np.testing.assert_array_equal(sure, also)
    np.testing.assert_array_equal(one.label_map, other.label_map)
    np.testing.assert_array_equal(one.confidence, other.confidence)


def test_evaluations_are_those_of_the_model_itself(network, server, tiny_folder):
    local = mp.Segmenter.from_pretrained(network, runtime="torch", device="cpu", precision="fp32")
    assert mp.evaluate(server.url, tiny_folder).to_dict() == mp.evaluate(local, tiny_folder).to_dict()


def test_transparent_pixels_have_no_class(server):
    pixels = np.full((6, 8, 4), 255, np.uint8)
    pixels[0, :, 3] = 0
    prediction = mp.RemoteSegmenter(server.url).predict(Image.fromarray(pixels))
    assert (prediction.label_map[0] == 255).all()
    assert (prediction.confidence[0] == 0).all()
    assert (prediction.label_map[1:] < 3).all()


def test_a_segmenter_of_an_address_is_a_remote_one(server):
    assert isinstance(mp.Segmenter.from_pretrained(server.url), RemoteSegmenter)
    with pytest.raises(ConfigError, match=r"^http://127.0.0.1:\d+: is a server, which takes no settings from here"):
        mp.Segmenter.from_pretrained(server.url, precision="fp32")


def test_a_model_is_chosen_by_its_name(start):
    class Other(Probable):
        classes = mp.ClassSet(("night", "day"))

    served = start({"one": Probable(), "other": Other()})
    assert RemoteSegmenter(served.url).classes.names == ("dark", "bright")
    assert RemoteSegmenter(f"{served.url}/").name == "one"
    assert RemoteSegmenter(f"{served.url}/other").predict(noise(4, 4)).classes.names == ("night", "day")
    with pytest.raises(ConfigError, match=r"has no model 'othr'; its models are one, other; did you mean other\?$"):
        RemoteSegmenter(f"{served.url}/othr")


def test_a_token_is_read_from_a_file_and_sent(start, tmp_path):
    (tmp_path / "token").write_text("0123456789abcdef\n")
    (tmp_path / "other").write_text("f" * 16)
    served = start(Probable(), token_file=tmp_path / "token")
    assert RemoteSegmenter(served.url, token_file=tmp_path / "token").predict(noise(4, 4)).label_map.shape == (4, 4)
    for given in (None, tmp_path / "other"):
        with pytest.raises(
            ConfigError, match=r"demands a token, .* give the file with the token .* --token-file FILE$"
        ):
            RemoteSegmenter(served.url, token_file=given)
    with pytest.raises(ConfigError, match=r"nowhere: the token cannot be read .* copy that of the server$"):
        RemoteSegmenter(served.url, token_file=tmp_path / "nowhere")


def test_images_that_the_server_does_not_take_are_refused_here(start, monkeypatch):
    served = start(Probable(), max_pixels=100, max_body=20_000)
    remote = RemoteSegmenter(served.url)
    with pytest.raises(ImageError, match=r"^the image has 20 x 10 pixels, but the server at \S+ takes at most 100;"):
        remote.predict(noise(10, 20))
    served = start(Probable(), max_body=20_000)
    remote = RemoteSegmenter(served.url)
    with pytest.raises(
        ImageError, match=r"^the image has \d+ bytes as PNG, but the server at \S+ takes at most 20000;"
    ):
        remote.predict(noise(100, 200))
    assert served.predictor.seen == []
    assert remote.predict(np.zeros((100, 200, 3), np.uint8)).label_map.shape == (100, 200)  # compressed, it fits


def test_a_model_that_was_exchanged_ends_the_run(start):
    class Weights(Probable):
        def __init__(self, number):
            super().__init__()
            self.number = number

        def origin(self):
            return {"weights": self.number}

    one, two = start({"m": Weights(1)}), start({"m": Weights(2)})
    remote = RemoteSegmenter(one.url)
    assert remote.origin() != RemoteSegmenter(two.url).origin()
    remote.predict(noise(4, 4))
    remote._connections = remote._asker._connections = RemoteSegmenter(two.url)._connections
    with pytest.raises(ConfigError, match="the model m has changed since the start; run the command again"):
        remote.predict(noise(4, 4))


FACTS = {
    "no JSON": b"<html></html>",
    "no models": b'{"version": "9.9", "models": []}',
    "the first version": b'{"version": "0.1", "runs": "cpu", "classes": []}',
    "no classes": b'{"version": "9.9", "models": [{"name": "m", "runs": "cpu", "classes": []}], "at_once": 1}',
    "a color": b'{"version": "9", "models": [{"name": "m", "runs": "x", "classes": [{"name": "a", "color": [1, 2]}]}]}',
    "twice": b'{"version": "9", "models": [{"name": "m", "runs": "x", "classes": [{"name": "a", "color": [1, 2, 3]}, '
    b'{"name": "a", "color": [1, 2, 3]}]}]}',
    "a path as name": b'{"version": "9", "models": [{"name": "../../m", "runs": "x", "digest": null, "classes": '
    b'[{"name": "a", "color": [1, 2, 3]}, {"name": "b", "color": [3, 2, 1]}]}], "at_once": 1, "max_body": 9, '
    b'"max_pixels": 9}',
    "a list": b"[" * 100_000,
}


@pytest.mark.parametrize("name", FACTS)
def test_what_is_no_server_of_this_version_is_named(name, stand_in, monkeypatch):
    content = FACTS[name]
    good = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)
    monkeypatch.setattr(stand_in, "_good", lambda *_: good)
    with pytest.raises(ModelError, match="check that this is the address of maskpencil serve, and of the same version"):
        RemoteSegmenter(stand_in.url)


def test_the_versions_are_named_if_they_do_not_fit(stand_in, monkeypatch):
    content = FACTS["no classes"]
    good = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)
    monkeypatch.setattr(stand_in, "_good", lambda *_: good)
    with pytest.raises(ModelError, match=r"the server has maskpencil 9\.9, this computer \d"):
        RemoteSegmenter(stand_in.url)


def test_a_failure_of_one_image_is_that_of_the_image_alone(start, tmp_path, capsys):
    for number, size in enumerate(((10, 10), (13, 13), (10, 12), (8, 8), (9, 9))):
        Image.fromarray(noise(*size, number)).save(tmp_path / f"{number}.png")
    served = start(Probable(), max_pixels=150)
    assert main(["predict", served.url, str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert f"error: {tmp_path / '1.png'}: the image has 13 x 13 pixels, but the server at {served.url}" in said.err
    assert "4 images done" in said.out
    assert sorted(path.stem for path in (tmp_path / "out" / "masks").iterdir()) == ["0", "2", "3", "4"]


def test_wrappers_use_the_arrays_of_the_server(start):
    remote, image = RemoteSegmenter(start(Probable()).url), noise(16, 24)
    for wrap in (
        lambda model: wrappers.SingleClass(model, "bright", threshold=0.4),
        lambda model: wrappers.Abstain(model, below=0.6),
        lambda model: wrappers.TestTimeAugmentation(model, flip=True, scales=(0.5, 1.0)),
    ):
        one, other = (wrap(model).predict_batch([image], confidence=True)[0] for model in (remote, Probable()))
        np.testing.assert_array_equal(one.label_map, other.label_map)
        np.testing.assert_array_equal(one.confidence, other.confidence)


def test_several_images_are_under_way_at_once(start):
    model = Probable(2)
    remote = RemoteSegmenter(start(model).url)
    with remote.side_by_side() as count:
        assert count == 2 + segmenter.MORE_REQUESTS
    assert len(remote.predict([noise(8, 8)] * 12)) == 12
    assert len(model.seen) == 12


def test_images_are_sent_without_loss_near_and_far(start, monkeypatch):
    remote, image = RemoteSegmenter(start(Probable()).url), noise(40, 30)
    near = remote.predict(image)
    monkeypatch.setattr(segmenter.Address, "is_here", False)
    far = remote.predict(image)
    np.testing.assert_array_equal(near.confidence, far.confidence)
    np.testing.assert_array_equal(near.confidence, Probable().predict_batch([image], confidence=True)[0].confidence)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--runtime", "onnx"], "--runtime does not apply to the server"),
        (["--device", "cpu"], "--device does not apply to the server"),
        (["--precision", "fp32"], "--precision does not apply"),
        (["--memory", "1GiB"], "--memory does not apply"),
        (["--tile", "64"], "--tile does not apply"),
        (["--image-size", "native"], "--image-size does not apply"),
        (["--compile"], "--compile does not apply"),
    ],
)
def test_options_of_the_network_are_refused(words, message, start, tmp_path, capsys):
    Image.fromarray(noise(4, 4)).save(tmp_path / "a.png")
    served = start(Probable())
    assert main(["predict", served.url, str(tmp_path / "a.png"), *words]) == 2
    error = capsys.readouterr().err
    assert f"error: {message}" in error
    assert f"{served.url}, which computes as it was started; leave {words[0]} out, or start the server with it" in error


@pytest.mark.parametrize("command", ["info", "export", "quantize", "benchmark", "page", "serve", "verify"])
def test_commands_that_need_the_network_itself_say_so(command, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    words = {"quantize": [str(tmp_path / "data")], "export": ["--to", "onnx"]}.get(command, [])
    words = ["model.onnx", "http://h:1/m"] if command == "verify" else ["http://h:1/m", *words]
    assert main([command, *words]) == 2
    said = capsys.readouterr().err
    assert "http://h:1/m: is the address of a server, which only predict, evaluate and report take" in said


def test_a_token_is_for_servers(network, tmp_path, capsys):
    Image.fromarray(noise(4, 4)).save(tmp_path / "a.png")
    assert main(["predict", str(network), str(tmp_path / "a.png"), "--token-file", "t"]) == 2
    assert "error: --token-file is for a server, but" in capsys.readouterr().err


def test_a_server_that_went_away_ends_the_prediction_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(retries, "RETRY_SECONDS", 0.3)
    for number in range(5):
        Image.fromarray(noise(8, 8, number)).save(tmp_path / f"{number}.png")

    with serve(Probable(), options=ServeOptions(port=0)) as running:
        remote = RemoteSegmenter(running.url)
    with pytest.raises(ModelError, match="the connection was refused, for 0 s; start the server"):
        mp.predict(remote, tmp_path, out=tmp_path / "out")


def test_encoded_images_and_paths_are_read(server, tmp_path):
    remote = RemoteSegmenter(server.url)
    content = encoded(Image.fromarray(noise(9, 7)))
    (tmp_path / "a.png").write_bytes(content)
    np.testing.assert_array_equal(remote.predict(content).label_map, remote.predict(tmp_path / "a.png").label_map)
