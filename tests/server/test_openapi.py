"""The document of the interface is that of the routes, and what the server answers is what the document says."""

import json
import re

import pytest
from tests.server.clients import SICK, Brightness, Probable, png

from maskpencil.server import ServeOptions
from maskpencil.server.app import App
from maskpencil.server.models import Models
from maskpencil.server.openapi import Endpoint, document

PROBES = [
    ("GET", "/healthz", None, {}),
    ("GET", "/readyz", None, {}),
    ("GET", "/metrics", None, {}),
    ("GET", "/openapi.json", None, {}),
    ("GET", "/v1/models", None, {}),
    ("POST", "/v1/mask", png(), {}),
    ("POST", "/v1/mask?out=overlay", png(), {}),
    ("POST", "/v1/mask?out=json", png(), {}),
    ("POST", "/v1/mask?out=regions", png(), {}),
    ("POST", "/v1/mask?out=arrays", png(), {}),
    ("POST", "/v1/mask?out=arrays&arrays=label_map,confidence", png(), {}),
    ("POST", "/v1/mask?out=arrays&arrays=depth", png(), {}),
    ("POST", "/v1/mask?out=probabilities", png(), {}),
    ("POST", "/v1/mask?out=gif", png(), {}),
    ("POST", "/v1/mask?model=model", png(), {}),
    ("POST", "/v1/mask?model=other", png(), {}),
    ("POST", "/v1/mask", png(), {"Accept": "text/html"}),
    ("POST", "/v1/mask", b"", {}),
    ("POST", "/v1/mask", b"text", {}),
    ("POST", "/v1/mask", png(SICK), {}),
    ("POST", "/v1/mask", png(), {"Content_Encoding": "br"}),
    ("POST", "/v1/mask", bytes(2**26 + 1), {}),
    ("GET", "/v1/mask", None, {}),
    ("POST", "/v1/videos", b"text", {}),
    ("POST", "/v1/videos", b"", {}),
    ("POST", "/v1/videos?min_area=0", b"text", {}),
    ("POST", "/v1/videos", b"text", {"Content_Encoding": "br"}),
    ("GET", "/v1/videos/{id}", None, {}),
    ("DELETE", "/v1/videos/{id}", None, {}),
    ("GET", "/v1/videos/{id}/events", None, {}),
    ("GET", "/v1/videos/{id}/overlay.mp4", None, {}),
    ("POST", "/v1/models", b"x", {}),
    ("GET", "/v1/models", None, {"Host": "evil.example"}),
    ("GET", "/v1/models", None, {"Origin": "http://evil.example"}),
    ("GET", "/v1/models", None, {"Host": ""}),
]


def test_the_document_has_exactly_the_routes(server, tmp_path):
    paths = server.ask("/openapi.json").json["paths"]
    app = App(Models({"model": Brightness()}), ServeOptions(), folder=tmp_path, token=None)
    routes = {(route.path, method) for route in app.asgi._app.routes for method in route.methods - {"HEAD"}}
    app.close(10)
    assert {(path, method.upper()) for path, methods in paths.items() for method in methods} == routes
    assert len(routes) == 14


@pytest.mark.parametrize(("method", "path", "body", "headers"), PROBES)
def test_every_answer_is_documented(method, path, body, headers, server):
    described = server.ask("/openapi.json").json
    reply = server.ask(path, body, method=method, **headers)
    methods = described["paths"][path.partition("?")[0]]
    operation = methods.get(method.lower()) or next(iter(methods.values()))
    response = operation["responses"][str(reply.status)]
    kind = reply.headers["content-type"].partition(";")[0]
    schema = response["content"][kind]["schema"]
    if kind == "application/json":
        assert faults(reply.json, schema, described) == []
    if kind == "application/x-ndjson":
        assert reply.content
        assert [faults(json.loads(line), schema["x-line"], described) for line in reply.content.splitlines()] == [
            [],
            [],
        ]


def test_a_fault_of_an_answer_is_noticed():
    described = document([Endpoint("/x", None, "Do it.", {})], "1", ["street"])
    assert faults({"error": 3}, {"$ref": "#/components/schemas/Error"}, described) == ["$.error: 3 is no string"]
    assert faults({}, {"$ref": "#/components/schemas/Error"}, described) == ["$: its names are []"]


@pytest.mark.parametrize("given", ["json", "overlay", "png", "regions", "arrays"])
def test_the_parameters_of_the_document_are_those_that_are_read(given, server):
    parameters = {each["name"]: each["schema"] for each in mask_operation(server)["parameters"]}
    assert given in parameters["out"]["enum"]
    for area in (parameters["min_area"]["minimum"], parameters["min_area"]["maximum"]):
        assert server.ask(f"/v1/mask?out={given}&min_area={area}", png()).status == 200
    for area in (parameters["min_area"]["minimum"] - 1, parameters["min_area"]["maximum"] + 1):
        assert server.ask(f"/v1/mask?out={given}&min_area={area}", png()).status == 400


def test_paths_need_the_token_as_the_document_says(start, tmp_path):
    (tmp_path / "token").write_text("0123456789abcdef")
    server = start(token_file=tmp_path / "token")
    described = server.ask("/openapi.json", Authorization="Bearer 0123456789abcdef").json
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            refused = server.ask(path, b"x" if method == "post" else None, method=method.upper()).status == 401
            assert refused == bool(operation["security"]), path


def mask_operation(server):
    return server.ask("/openapi.json").json["paths"]["/v1/mask"]["post"]


KINDS = {"string": str, "integer": int, "number": (int, float), "array": list, "object": dict, "null": type(None)}


def faults(value, schema, described, place="$"):
    """What is wrong in a value by its JSON schema, as far as this document uses them."""
    if "$ref" in schema:
        return faults(value, described["components"]["schemas"][schema["$ref"].rpartition("/")[2]], described, place)
    if "oneOf" in schema:
        fitting = [each for each in schema["oneOf"] if not faults(value, each, described, place)]
        return [] if len(fitting) == 1 else [f"{place}: {value!r} fits {len(fitting)} schemas"]
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if isinstance(value, bool) or not any(isinstance(value, KINDS[kind]) for kind in kinds):
        return [f"{place}: {value!r} is no {kinds[0]}"]
    if isinstance(value, dict) and "properties" in schema:
        if set(value) != set(schema["required"]):
            return [f"{place}: its names are {sorted(value)}"]
        named = schema["properties"].items()
        return [fault for name, each in named for fault in faults(value[name], each, described, f"{place}.{name}")]
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            return [f"{place}: it has {len(value)} items"]
        return [fault for each in value for fault in faults(each, schema["items"], described, f"{place}[]")]
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return [f"{place}: {value} is out of range"]
    return []


def test_operations_have_different_names(server):
    text = server.ask("/openapi.json").content.decode()
    names = re.findall(r'"operationId": "(\w+)"', text)
    assert len(names) == len(set(names)) == 14


def test_the_arrays_and_classes_of_the_document_are_those_that_are_read(start):
    server = start(Probable())
    parameters = {each["name"]: each["schema"] for each in mask_operation(server)["parameters"]}
    for name in parameters["arrays"]["items"]["enum"]:
        index = "&class=0" if name == "probability" else ""
        assert server.ask(f"/v1/mask?out=arrays&arrays={name}{index}", png()).status == 200, name
    assert parameters["arrays"]["default"] == ["label_map"]
    reply = server.ask(f"/v1/mask?out=arrays&arrays=probability&class={parameters['class']['maximum'] + 1}", png())
    assert reply.status == 400
