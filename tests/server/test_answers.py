import json
from io import BytesIO
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from tests.server.clients import Brightness, Probable, encoded, png, until

from maskpencil.classes import ClassSet
from maskpencil.errors import ConfigError
from maskpencil.images import read_image, write_image
from maskpencil.server import answers, app
from maskpencil.server.answers import MEDIA_TYPES, Wish, accepted_form, answer, check_image
from maskpencil.server.refusals import RefusedError


def test_the_files_are_those_that_predictions_write(server, tmp_path):
    body = png()
    (prediction,) = Brightness().predict_batch([read_image(body)])
    prediction.save(tmp_path / "mask.png")
    write_image(tmp_path / "overlay.jpg", prediction.overlay())
    for path, file in (
        ("/v1/mask", "mask.png"),
        ("/v1/mask?out=png", "mask.png"),
        ("/v1/mask?out=overlay", "overlay.jpg"),
    ):
        reply = server.ask(path, body)
        assert reply.status == 200
        assert reply.content == (tmp_path / file).read_bytes()
        assert reply.headers["content-type"] == ("image/png" if file == "mask.png" else "image/jpeg")


def test_json_has_shares_and_regions(server):
    result = server.ask("/v1/mask?out=json", png((4, 12))).json
    assert result["size"] == [4, 12]
    assert [(each["name"], each["color"], each["pixels"], each["share"]) for each in result["classes"]] == [
        ("dark", [10, 20, 30], 24, 0.5),
        ("bright", [250, 240, 230], 24, 0.5),
    ]
    assert result["no_class"] == {"pixels": 0, "share": 0.0}
    dark, bright = result["regions"]
    assert (dark["class"], dark["box"], dark["confidence"]) == ("dark", [0, 0, 6, 4], 0.75)
    assert bright["polygons"] == [[[[6, 0], [12, 0], [12, 4], [6, 4]]]]


def test_small_regions_are_left_out_of_json(server):
    assert len(server.ask("/v1/mask?out=json&min_area=24", png((4, 12))).json["regions"]) == 2
    assert server.ask("/v1/mask?out=json&min_area=25", png((4, 12))).json["regions"] == []


def test_transparent_pixels_get_no_class(server):
    pixels = np.full((4, 4, 4), 255, np.uint8)
    pixels[0, :, 3] = 0
    assert server.ask("/v1/mask?out=json", encoded(Image.fromarray(pixels))).json["no_class"]["pixels"] == 4


def test_images_of_all_formats_are_turned_upright(server):
    image = Image.fromarray(np.zeros((4, 12, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6
    for form in ("JPEG", "WEBP", "PNG", "TIFF"):
        assert server.ask("/v1/mask?out=json", encoded(image, form, exif=exif)).json["size"] == [12, 4], form
    for form in ("BMP", "GIF", "PPM"):
        assert server.ask("/v1/mask?out=json", encoded(image, form)).json["size"] == [4, 12], form


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", "png"),
        ("image/*", "png"),
        ("image/jpeg", "overlay"),
        ("application/json", "json"),
        ("text/html, application/json;q=0.5, image/png;q=0.1", "json"),
        ("IMAGE/JPEG ; q=1.0", "overlay"),
        ("image/png;q=0, application/json;q=0.001", "json"),
        ("image/png;q=nonsense, image/jpeg", "overlay"),
    ],
)
def test_the_accepted_form_is_chosen(accept, form):
    assert accepted_form(accept) == form


def test_the_parameter_is_stronger_than_the_header(server):
    reply = server.ask("/v1/mask?out=overlay", png(), Accept="application/json")
    assert reply.headers["content-type"] == MEDIA_TYPES["overlay"]


@pytest.mark.parametrize("accept", ["text/html", "image/png;q=0", "", ";;;,"])
def test_a_form_that_does_not_exist_is_refused(accept):
    with pytest.raises(
        RefusedError, match=r"^the header Accept must allow one of image/png, image/jpeg, application/json"
    ) as caught:
        accepted_form(accept)
    assert caught.value.status == 406


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("out=gif", "out must be one of png, overlay, json, regions, probabilities, arrays, but got 'gif'"),
        ("out=png&out=json", "each at most once, but got 'out'"),
        (
            "url=http://192.0.2.1/a.jpg",
            "the parameters are out, min_area, model, arrays, class, each at most once, but got 'url'",
        ),
        ("path=/etc/passwd", "each at most once, but got 'path'"),
        ("min_area=0", "min_area must be a whole number from 1 to"),
        ("min_area=-1", "but got '-1'"),
        ("min_area=99999999999", "min_area must be"),
        ("min_area=²", "min_area must be"),
        ("arrays=label_map", "arrays and class are for out=arrays; leave them out"),
        ("out=png&class=0", "arrays and class are for out=arrays"),
        (
            "out=arrays&arrays=labels",
            "arrays must be one or more of label_map,confidence,entropy,probability,probabilities",
        ),
        ("out=arrays&arrays=entropy,entropy", "each once, separated by commas, but got 'entropy,entropy'"),
        ("out=arrays&arrays=", "arrays must be one or more of"),
        ("out=arrays&arrays=probability", "arrays=probability and class=INDEX must be given together"),
        ("out=arrays&class=0", "arrays=probability and class=INDEX must be given together"),
        ("out=arrays&arrays=probability&class=-1", "class must be the index of a class, but got '-1'"),
        ("out=arrays&arrays=probability&class=2", "class must be the index of a class of the model, 0 to 1, but got 2"),
        ("out=probabilities", "this model does not compute probabilities of classes"),
        ("out=arrays&arrays=probability&class=0", "this model does not compute probabilities of classes"),
    ],
)
def test_a_wrong_parameter_is_refused_in_one_line(query, message, server):
    reply = server.ask(f"/v1/mask?{quote(query, safe='=&')}", png())
    assert reply.status == 400
    assert message in reply.json["error"]
    assert "\n" not in reply.json["error"]


def test_an_image_of_many_pixels_is_refused_by_its_header(start):
    server = start(max_pixels=95)
    reply = server.ask("/v1/mask", png())
    assert (reply.status, server.predictor.seen) == (422, [])
    assert reply.json["error"].startswith("the image has 12 x 8 pixels, but this server takes at most 95")
    assert start(max_pixels=96).ask("/v1/mask", png()).status == 200


def test_a_decompression_bomb_is_refused_without_its_pixels(start):
    bomb = encoded(Image.new("1", (12_000, 12_000)))
    assert len(bomb) < 100_000
    server = start()
    reply = server.ask("/v1/mask", bomb)
    assert (reply.status, server.predictor.seen) == (422, [])
    assert "million" in reply.json["error"]
    check_image(png(), max_pixels=96)


def test_damaged_images_are_refused_and_the_next_is_answered(server):
    random = np.random.default_rng(0)
    whole = [png((40, 60)), encoded(Image.fromarray(random.integers(0, 255, (40, 60, 3), np.uint8)), "JPEG")]
    whole += [encoded(Image.open(BytesIO(whole[1])), form) for form in ("TIFF", "WEBP", "GIF")]
    statuses = set()
    for content in whole:
        for _ in range(12):
            damaged = bytearray(content[: random.integers(1, len(content))])
            for place in random.integers(0, len(damaged), 3):
                damaged[place] = random.integers(256)
            reply = server.ask("/v1/mask", bytes(damaged))
            statuses.add(reply.status)
            assert reply.status in (200, 422), reply.content
            assert reply.status == 200 or (b"0x" not in reply.content and b"BytesIO" not in reply.content)
            assert server.ask("/v1/mask", png()).status == 200
    assert 422 in statuses


def test_the_steps_are_timed():
    made = answer(Brightness(), png(), Wish())
    assert list(made.timing) == ["read", "predict", "write"]
    assert all(ms >= 0 for ms in made.timing.values())


def test_a_mask_of_very_many_regions_is_refused_as_json_with_the_remedy(server, monkeypatch):
    monkeypatch.setattr(answers, "MAX_REGIONS", 1)
    reply = server.ask("/v1/mask?out=json", png((4, 12)))
    assert (reply.status, reply.json) == (
        422,
        {"error": "the mask has 2 regions, but JSON takes at most 1; give a larger min_area"},
    )
    assert server.ask("/v1/mask?out=json&min_area=25", png((4, 12))).status == 200


PROBABLE = png((6, 8))


def probable_arrays(start, query, body=PROBABLE):
    reply = start(Probable()).ask(f"/v1/mask?out=arrays&arrays={query}", body)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/x-npz")
    with np.load(BytesIO(reply.content), allow_pickle=False) as arrays:
        return dict(arrays)


def test_arrays_are_those_of_the_model(start):
    image, model = read_image(PROBABLE), Probable()
    arrays = probable_arrays(start, "label_map,confidence,entropy,probability,probabilities&class=1")
    (prediction,) = model.predict_batch([image], confidence=True, entropy=True)
    (probabilities,) = model.probabilities_batch([image])
    expected = {
        "label_map": prediction.label_map,
        "confidence": prediction.confidence,
        "entropy": prediction.entropy,
        "probability": probabilities[1],
        "probabilities": probabilities,
    }
    assert list(arrays) == list(expected)
    for name, array in expected.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)


def test_only_the_arrays_asked_for_are_sent_and_each_image_is_computed_once(start):
    for query in ("label_map", "entropy", "confidence,label_map", "probability,label_map,confidence&class=0"):
        server = start(Probable())
        reply = server.ask(f"/v1/mask?out=arrays&arrays={query}", PROBABLE)
        with np.load(BytesIO(reply.content)) as arrays:
            assert ",".join(arrays) == query.partition("&")[0]
        assert len(server.predictor.seen) == 1


def test_probabilities_are_an_npy_file(start):
    reply = start(Probable()).ask("/v1/mask?out=probabilities", PROBABLE)
    assert reply.headers["content-type"] == "application/x-npy"
    found = np.load(BytesIO(reply.content), allow_pickle=False)
    np.testing.assert_array_equal(found, Probable().probabilities_batch([read_image(PROBABLE)])[0])


def test_pixels_without_image_data_have_no_class_and_no_probability(start):
    pixels = np.full((4, 6, 4), 255, np.uint8)
    pixels[0, :, 3] = 0
    body = encoded(Image.fromarray(pixels))
    names = "label_map,confidence,entropy,probability,probabilities"
    arrays = probable_arrays(start, f"{names}&class=1", body)
    empty = {"label_map": 255, "confidence": 0, "entropy": 1, "probability": 0, "probabilities": 0}
    assert {name: arrays[name][..., 0, :].max() for name in arrays} == empty
    assert {name: arrays[name][..., 0, :].min() for name in arrays} == empty
    assert (arrays["label_map"][1:] == 1).all()
    assert (arrays["probabilities"].sum(axis=0)[1:] == 1).all()


def test_arrays_are_turned_upright(start):
    image = Image.fromarray(np.zeros((4, 12, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6
    assert probable_arrays(start, "probabilities", encoded(image, "JPEG", exif=exif))["probabilities"].shape == (
        2,
        12,
        4,
    )


def test_arrays_that_are_too_large_are_refused_before_the_image_is_computed(start, monkeypatch):
    monkeypatch.setattr(answers, "MAX_ARRAY_BYTES", 6 * 8 * 8)
    server = start(Probable())
    assert server.ask("/v1/mask?out=probabilities", PROBABLE).status == 200
    server.predictor.seen.clear()
    reply = server.ask("/v1/mask?out=arrays&arrays=confidence,probabilities", PROBABLE)
    assert (reply.status, server.predictor.seen) == (422, [])
    assert reply.json["error"].startswith(
        "the arrays of an image of 8 x 6 pixels have 0 MiB, but an answer has at most"
    )
    assert server.ask("/v1/mask?out=probabilities", png((6, 9))).status == 422
    assert server.ask("/v1/mask?out=png", png((60, 90))).status == 200


def test_probabilities_of_an_image_that_is_computed_in_tiles_are_refused(start):
    model = Probable()
    model.tile_for = lambda size: 32 if max(size) > 32 else None
    server = start(model)
    reply = server.ask("/v1/mask?out=probabilities", png((8, 40)))
    assert (reply.status, model.seen) == (422, [])
    assert "the model computes an image of 40 x 8 pixels in parts" in reply.json["error"]
    assert server.ask("/v1/mask?out=arrays&arrays=label_map,confidence", png((8, 40))).status == 200


def test_a_model_that_cannot_compute_an_array_after_all_says_so(start):
    class Labels(Probable):
        def probabilities_batch(self, _):
            raise ConfigError("the exported file computes labels; use the model folder")

    reply = start(Labels()).ask("/v1/mask?out=probabilities", PROBABLE)
    assert (reply.status, reply.json) == (400, {"error": "the exported file computes labels; use the model folder"})


def test_regions_are_a_line_of_json_each(server):
    described = server.ask("/v1/mask?out=json", png((4, 12))).json["regions"]
    reply = server.ask("/v1/mask?out=regions", png((4, 12)))
    assert reply.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in reply.content.splitlines()] == described
    assert len(described) == 2
    assert server.ask("/v1/mask?out=regions&min_area=25", png((4, 12))).content == b""


def test_answers_name_the_model_and_its_classes(start):
    class Named(Brightness):
        classes = ClassSet(("Stra\u00dfe", "car, or 'van'"))

        def origin(self):
            return {"weights": "1"}

    class Long(Brightness):
        classes = ClassSet(tuple(f"{number} {'x' * 90}" for number in range(60)))

    server = start({"street": Named(), "long": Long()})
    reply = server.ask("/v1/mask", png())
    assert (reply.headers["x-model"], json.loads(reply.headers["x-classes"])) == ("street", list(Named.classes.names))
    listed = server.ask("/v1/models").json["models"]
    assert [reply.headers["x-model-digest"], None] == [each["digest"] for each in listed]
    reply = server.ask("/v1/mask?model=long", png())
    assert (reply.headers["x-model"], "x-classes" in reply.headers) == ("long", False)
    assert "x-model-digest" not in reply.headers


def test_the_results_that_clients_have_not_read_take_no_more_than_their_memory(start, monkeypatch):
    monkeypatch.setattr(app, "MAX_RESULTS", 2 * 4 * 2000 * 3000)
    server, body = start(Probable()), png((2000, 3000))
    with server.connect() as slow:
        head = b"POST /v1/mask?out=probabilities HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        slow.sendall(head % len(body) + body)
        assert slow.recv(4) == b"HTTP"
        reply = server.ask("/v1/mask?out=probabilities", body)
        assert (reply.status, reply.headers["retry-after"]) == (503, "2")
        assert server.ask("/v1/mask", body).status == 200
    until(lambda: server.ask("/v1/mask?out=probabilities", body).status == 200)
