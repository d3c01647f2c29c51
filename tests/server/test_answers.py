from io import BytesIO
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from tests.server.clients import Brightness, encoded, png

from maskpencil.images import read_image, write_image
from maskpencil.server import answers
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
    with pytest.raises(RefusedError, match=r"^the answer can be image/png, image/jpeg, application/json") as caught:
        accepted_form(accept)
    assert caught.value.status == 406


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("out=gif", "out must be one of png, overlay, json, but got 'gif'"),
        ("out=png&out=json", "each at most once, but got 'out'"),
        ("url=http://192.0.2.1/a.jpg", "the parameters are out, min_area, model, each at most once, but got 'url'"),
        ("path=/etc/passwd", "each at most once, but got 'path'"),
        ("min_area=0", "min_area must be a whole number from 1 to"),
        ("min_area=-1", "but got '-1'"),
        ("min_area=99999999999", "min_area must be"),
        ("min_area=²", "min_area must be"),
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
