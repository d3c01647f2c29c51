import numpy as np
import openvino
import pytest
from openvino import opset13 as op

from maskpencil.runtimes.graph_files import checked_xml, refuse_too_large

LAYER = '<layer id="0" name="x" type="{}" version="{}">{}</layer>'
CONSTANT = '<data element_type="{}" shape="{}" offset="{}" size="{}" />'


def net(layers, head='<?xml version="1.0"?>', version="11"):
    return f'{head}<net name="n" version="{version}"><layers>{layers}</layers><edges /></net>'.encode()


def layer(kind="ReLU", opset="opset1", inner=""):
    return LAYER.format(kind, opset, inner)


def constant(number="f32", shape="2,3", offset="0", size="24"):
    return layer("Const", "opset1", CONSTANT.format(number, shape, offset, size))


BOMB = '<?xml version="1.0"?><!DOCTYPE n [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
OUTSIDE = '<?xml version="1.0"?><!DOCTYPE n [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    "content",
    [
        net(layer(), head=BOMB),
        net(layer(), head=OUTSIDE),
        net(layer() + "<!-- -->"),
        net(layer() + "<?open file?>"),
        net(layer()) + b"\0",
        net(layer()).decode().encode("utf-16"),
        net(layer())[:-10],
        net(layer(), version="10"),
        net(""),
        b"<other />",
        b"<a>" * 100_000,
        *(
            net(layer(kind))
            for kind in ("ReadValue", "Assign", "If", "Loop", "TensorIterator", "RandomUniform", "X", "")
        ),
        *(net(layer("ReLU", opset)) for opset in ("extension", "opset99", "", "custom")),
        net(layer("ReLU", "opset1", f"<body><layers>{layer('ReLU')}</layers></body>")),
        net(constant(offset="1000")),
        net(constant(offset="1")),
        net(constant(size="25")),
        net(constant(offset="-8")),
        net(constant(offset=str(2**64 - 8))),
        net(constant(size="9" * 5000)),
        net(constant(shape="1000000,1000000")),
        net(constant(shape="-2,-3")),
        net(constant(number="string")),
        net(layer("Const")),
    ],
)
def test_what_our_converter_never_writes_is_refused(content):
    with pytest.raises(ValueError, match=r"it |its constant|is not a place"):
        checked_xml(content, 24)


def test_what_is_checked_comes_out_the_same(made):
    content = (made / "graph" / "cells.xml").read_bytes()
    size = (made / "graph" / "cells.bin").stat().st_size
    anew = checked_xml(content, size)
    assert anew.split() == content.replace(b'<?xml version="1.0"?>', b"<?xml version='1.0' encoding='utf-8'?>").split()
    assert checked_xml(anew, size) == anew


def model(*blowing_up):
    pixels = op.parameter([-1, -1, -1, 3], openvino.Type.u8, name="pixels")
    pixels.output(0).get_tensor().set_names({"pixels"})
    node = op.convert(pixels, "f32")
    for change in blowing_up:
        node = change(node)
    return openvino.Model([node], [pixels], "model")


def test_a_small_image_that_would_take_much_memory_is_refused():
    def tiled(node):
        return op.tile(node, [1, 1, 1, 10**6])

    def broadcast(node):
        return op.add(op.reduce_sum(op.broadcast(op.constant(np.float32(1)), [10**6, 10**6]), [0, 1]), node)

    for change in (tiled, broadcast):
        with pytest.raises(ValueError, match="numbers for a small image"):
            refuse_too_large(model(change))


def test_a_graph_that_is_not_too_large_takes_images_of_any_size_afterwards():
    sound = model()
    refuse_too_large(sound)
    assert sound.inputs[0].get_partial_shape() == openvino.PartialShape([-1, -1, -1, 3])
