import math
import struct
from contextlib import suppress
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from maskpencil.errors import ModelError
from maskpencil.models.importers.caffe import read_caffemodel

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
V1_TYPES = {"Convolution": 4, "InnerProduct": 14, "ReLU": 18, "Deconvolution": 39}
LEGACY_AXES = 4


def integer(value):
    """A varint; negative ones as protobuf writes them."""
    value %= 2**64
    content = b""
    while value > 0x7F:
        content += bytes([value & 0x7F | 0x80])
        value >>= 7
    return content + bytes([value])


def tagged(number, wire_type, value):
    return integer(number << 3 | wire_type) + value


def sized(number, value):
    return tagged(number, LENGTH, integer(len(value)) + value)


@dataclass(frozen=True)
class Form:
    """One of the ways in which a net can be written down."""

    v1: bool = False
    packed: bool = True
    legacy: bool = False
    doubles: bool = False

    def blob(self, array):
        return self.shape(array.shape) + self.numbers(array)

    def shape(self, shape):
        if self.legacy:
            padded = (1,) * (LEGACY_AXES - len(shape)) + tuple(shape)
            return b"".join(tagged(number, VARINT, integer(n)) for number, n in enumerate(padded, start=1))
        if self.packed:
            return sized(7, sized(1, b"".join(map(integer, shape))))
        return sized(7, b"".join(tagged(1, VARINT, integer(n)) for n in shape))

    def numbers(self, array):
        number, wire_type, kind = (8, FIXED64, "<d") if self.doubles else (5, FIXED32, "<f")
        values = [struct.pack(kind, value) for value in array.ravel().tolist()]
        return (
            sized(number, b"".join(values)) if self.packed else b"".join(tagged(number, wire_type, v) for v in values)
        )

    def layer(self, name, layer_type, *blobs):
        if self.v1:
            head = sized(4, name.encode()) + tagged(5, VARINT, integer(V1_TYPES[layer_type]))
            return sized(2, head + b"".join(sized(6, blob) for blob in blobs))
        head = sized(1, name.encode()) + sized(2, layer_type.encode())
        return sized(100, head + b"".join(sized(7, blob) for blob in blobs))


class Net:
    """Layers with known numbers, as bytes."""

    def __init__(self, form):
        self.form = form
        self.random = np.random.default_rng(0)
        self.expected = {}
        self.parts = [sized(1, b"a net")]

    def add(self, name, layer_type, *shapes):
        arrays = [self.random.standard_normal(shape, dtype=np.float32) for shape in shapes]
        self.parts.append(self.form.layer(name, layer_type, *map(self.form.blob, arrays)))
        for parameter, array in zip(("weight", "bias", "blob2"), arrays, strict=False):
            self.expected[f"{name}.{parameter}"] = torch.from_numpy(array)
        return self


def fcn(form):
    """Every kind of layer of the published networks, small."""
    net = Net(form)
    net.add("conv1_1", "Convolution", (3, 2, 2, 2), (3,)).add("relu1_1", "ReLU")
    net.add("fc6", "Convolution", (1, 3, 2, 2), (1,))  # one output: its leading 1 must stay
    net.add("fc8", "InnerProduct", (1, 5), (1,)).add("fc9", "InnerProduct", (3, 5), (3,))
    return net.add("upscore2", "Deconvolution", (1, 3, 2, 2))


FORMS = [Form(*flags) for flags in product((False, True), repeat=4)]


@pytest.fixture
def read(tmp_path):
    def read(content):
        (tmp_path / "net.caffemodel").write_bytes(content)
        return read_caffemodel(tmp_path / "net.caffemodel")

    return read


@pytest.fixture
def error_of(tmp_path, read):
    def error_of(content):
        with pytest.raises(ModelError) as caught:
            read(content)
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / 'net.caffemodel'}: cannot be read as weights of Caffe (")
        assert "; expected a binary .caffemodel" in message
        assert "\n" not in message
        return message

    return error_of


def assert_equal(read, expected):
    assert list(read) == list(expected)
    for name, tensor in expected.items():
        assert read[name].dtype == torch.float32
        assert read[name].shape == tensor.shape, name
        # as bytes: a NaN is the same NaN
        assert read[name].numpy().tobytes() == tensor.numpy().tobytes(), name


# what is read


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_form_gives_the_same_names_shapes_and_numbers(form, read):
    net = fcn(form)
    tensors = read(b"".join(net.parts))
    assert_equal(tensors, net.expected)
    assert [*tensors][:3] == ["conv1_1.weight", "conv1_1.bias", "fc6.weight"]
    assert [*tensors][-1] == "upscore2.weight"


@pytest.mark.slow
@settings(max_examples=50)
@given(
    array=arrays(np.float32, array_shapes(max_dims=LEGACY_AXES, max_side=4)),
    form=st.sampled_from(FORMS),
    data=st.data(),
)
def test_all_numbers_come_back_exactly(array, form, data, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "numbers.caffemodel"
    path.write_bytes(form.layer("a", data.draw(st.sampled_from(sorted(V1_TYPES))), form.blob(array)))
    weight = read_caffemodel(path)["a.weight"]
    assert np.array_equal(weight.numpy().ravel(), array.ravel(), equal_nan=True)


def test_old_and_new_layers_may_stand_in_one_file(read):
    old, new = Net(Form(v1=True)), Net(Form())
    old.add("conv1", "Convolution", (2, 1, 1, 1))
    new.add("conv2", "Convolution", (1, 2, 1, 1))
    assert_equal(read(b"".join(old.parts + new.parts)), old.expected | new.expected)


def test_new_layers_may_have_arrays_of_four_axes_as_in_converted_files(read):
    tensors = read(
        Form(legacy=True).layer("fc8", "InnerProduct", *(Form(legacy=True).blob(np.ones(s)) for s in [(3, 5), (3,)]))
    )
    assert [tuple(tensor.shape) for tensor in tensors.values()] == [(3, 5), (3,)]


def test_other_layers_keep_the_stored_shape(read):
    form = Form(v1=True, legacy=True)
    assert read(form.layer("relu", "ReLU", form.blob(np.ones(3))))["relu.weight"].shape == (1, 1, 1, 3)
    assert read(Form().layer("scale", "Scale", Form().blob(np.float32(2.5))))["scale.weight"].shape == ()


def test_further_arrays_are_numbered(read):
    net = Net(Form()).add("bn", "BatchNorm", (4,), (4,), (1,))
    assert list(net.expected) == ["bn.weight", "bn.bias", "bn.blob2"]
    assert_equal(read(b"".join(net.parts)), net.expected)


def test_numbers_may_come_in_several_pieces_and_fields_in_any_order(read):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    pieces = Form().numbers(array[:1]) + Form(packed=False).numbers(array[1:])
    blob = sized(7, sized(1, b"\x02")) + pieces + sized(7, tagged(1, VARINT, b"\x03"))
    tensors = read(sized(100, sized(7, blob) + sized(2, b"InnerProduct") + sized(1, b"fc")))
    assert_equal(tensors, {"fc.weight": torch.from_numpy(array)})


def test_the_old_axes_precede_the_shape_and_doubles_precede_floats_as_in_caffe(read):
    blob = Form(legacy=True).shape((1, 2)) + Form().blob(np.ones(7)) + Form(doubles=True).numbers(np.array([3.0, 4.0]))
    assert read(Form().layer("fc", "InnerProduct", blob))["fc.weight"].tolist() == [[3.0, 4.0]]


def test_doubles_beyond_floats_become_infinite_without_a_warning(read):
    form = Form(doubles=True)
    weight = read(form.layer("a", "ReLU", form.blob(np.array([1e300, np.nan, 1e-300]))))["a.weight"]
    assert weight[0] == math.inf
    assert weight[1].isnan()
    assert weight[2] == 0


def test_unknown_fields_are_skipped_everywhere(read):
    unknown = b"".join(
        [
            tagged(1000, VARINT, integer(-1)),
            tagged(1001, FIXED64, b"\xff" * 8),
            tagged(2**29 - 1, FIXED32, b"\xff" * 4),
            sized(1003, b"\xff" * 200),
        ]
    )
    array = np.ones(2, dtype=np.float32)
    diff = sized(6, b"\0" * 8) + sized(9, b"\0" * 16)
    blob = unknown + sized(7, unknown + sized(1, b"\x02") + unknown) + diff + Form().numbers(array) + unknown
    net = unknown + sized(100, unknown + sized(1, b"a") + sized(7, blob) + unknown) + unknown
    assert_equal(read(net), {"a.weight": torch.from_numpy(array)})


def test_the_tensors_do_not_depend_on_the_file_or_on_each_other(tmp_path):
    net = fcn(Form())
    path = tmp_path / "net.caffemodel"
    path.write_bytes(b"".join(net.parts))
    tensors = read_caffemodel(str(path))
    path.write_bytes(b"\0" * path.stat().st_size)
    path.unlink()
    assert_equal(tensors, net.expected)
    tensors["conv1_1.weight"].zero_()
    assert_equal(tensors, net.expected | {"conv1_1.weight": torch.zeros(3, 2, 2, 2)})


# what is refused


@pytest.mark.slow
@pytest.mark.parametrize("form", [Form(), Form(v1=True, packed=False, legacy=True)], ids=str)
def test_a_file_cut_short_is_refused_or_where_it_ends_with_a_layer_lacks_the_rest(form, read, error_of):
    net = fcn(form)
    whole = b"".join(net.parts)
    ends = np.cumsum([len(part) for part in net.parts]).tolist()
    for length in range(len(whole)):
        if length not in ends[1:]:
            error_of(whole[:length])
            continue
        names = list(read(whole[:length]))
        assert names == list(net.expected)[: len(names)]
        assert len(names) < len(net.expected)


def test_a_missing_file_or_a_folder_is_reported(tmp_path):
    for path in (tmp_path / "no.caffemodel", tmp_path):
        with pytest.raises(ModelError) as caught:
            read_caffemodel(path)
        assert str(caught.value) == f"{path}: there is no such weights file; expected a .caffemodel file of Caffe"


def test_a_file_without_permission_is_reported(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "net.caffemodel"
    path.write_bytes(b"x")
    monkeypatch.setattr("maskpencil.models.importers.caffe.mmap", refuse)
    with pytest.raises(ModelError) as caught:
        read_caffemodel(path)
    assert str(caught.value) == f"{path}: cannot be read (Permission denied); expected a readable file"


OTHER_FILES = {
    "prototxt": b'name: "FCN-8s"\nlayer {\n  name: "data"\n}\n',
    "old prototxt": b'layers {\n  name: "data"\n}\n',
    "comment": b"# a network\n",
    "web page": b"<!DOCTYPE html><html>404 not found</html>",
    "HDF5": b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0\x04\0\x10\0" + b"\0" * 8 + b"\xff" * 8,
    "PNG": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0",
    "zip": b"PK\x03\x04\x14\0\0\0\x08\0",
    "pickle": b"\x80\x02}q\0.",
    "git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 538709000\n",
    "zeros": b"\0" * 64,
    "ones": b"\xff" * 64,
    "mean image": tagged(1, VARINT, integer(9)) + tagged(2, VARINT, integer(3)) + sized(5, b"\0" * 12),
    "state of a training": tagged(1, VARINT, integer(100)) + sized(2, b"/snapshots/fcn.caffemodel"),
}


@pytest.mark.parametrize("content", OTHER_FILES.values(), ids=OTHER_FILES)
def test_other_files_are_refused(content, error_of):
    assert "neither the .prototxt nor a .caffemodel.h5; if the file should be a .caffemodel, " in error_of(content)


def test_an_empty_file_is_reported(error_of):
    assert "(it is empty)" in error_of(b"")


@pytest.mark.parametrize("content", [sized(1, b"a net"), Form().layer("relu", "ReLU"), sized(100, b"")])
def test_a_network_without_weights_is_reported(content, error_of):
    assert "(it has no layer with weights)" in error_of(content)


@pytest.mark.parametrize(
    ("blob", "expected"),
    [
        (Form().shape((2, 2)) + Form().numbers(np.ones(3)), "12 bytes of float32, but its shape (2, 2) needs 16"),
        (Form().shape((2,)) + sized(5, b"\0" * 7), "7 bytes of float32, but its shape (2,) needs 8"),
        (Form().shape((1,)) + sized(8, b"\0" * 4), "4 bytes of float64, but its shape (1,) needs 8"),
        (Form().shape((0,)), "0 bytes of float32, but its shape (0,) needs 0"),
        (Form().numbers(np.ones(2)), "8 bytes of float32, but its shape () needs 4"),
        (b"", "0 bytes of float32, but its shape () needs 4"),
        (tagged(4, VARINT, b"\x02") + Form().numbers(np.ones(2)), "its shape (0, 0, 0, 2) needs 0"),
        (Form().shape((-1,)) + Form().numbers(np.ones(1)), "its shape (18446744073709551615,) needs 7"),
        (Form().shape((2**62,) * 32), "its shape (4611686018427387904, 4611686018427387904, "),
    ],
)
def test_numbers_that_do_not_fill_the_shape_are_reported_with_the_name(blob, expected, error_of):
    message = error_of(Form().layer("conv", "Convolution", blob))
    assert "('conv.weight' has " in message
    assert expected in message


def test_more_axes_than_caffe_has_are_refused(error_of):
    for packed in (True, False):
        blob = Form(packed=packed).blob(np.ones((1,) * 33))
        assert "more than 32 axes" in error_of(Form().layer("a", "ReLU", blob))


def test_two_layers_of_one_name_are_refused_where_both_have_weights(read, error_of):
    blob = Form().blob(np.ones(1))
    for second in (Form(), Form(v1=True)):
        content = Form().layer("conv", "Convolution", blob) + second.layer("conv", "Convolution", blob)
        assert "(it has two layers named 'conv' with weights)" in error_of(content)
    assert list(read(Form().layer("data", "Data") * 2 + Form().layer("a", "ReLU", blob))) == ["a.weight"]


def test_a_layer_with_weights_must_have_a_name(error_of):
    assert "a layer with weights has no name" in error_of(Form().layer("", "Convolution", Form().blob(np.ones(1))))


def test_the_oldest_form_is_reported_with_its_remedy(error_of):
    message = error_of(sized(2, sized(1, sized(1, b"conv1") + sized(50, Form(legacy=True).blob(np.ones(2))))))
    assert "Caffe's oldest form, V0" in message
    assert message.endswith("; convert it with Caffe's upgrade_net_proto_binary")


def test_transposed_weights_are_refused_since_square_ones_would_fit(read, error_of):
    def layer(flag):
        parameter = sized(117, tagged(1, VARINT, b"\x02") + tagged(6, VARINT, flag))
        return sized(100, sized(1, b"fc7") + sized(7, Form().blob(np.ones((2, 2)))) + parameter)

    message = error_of(layer(b"\x01"))
    assert "(the weights of 'fc7' are stored transposed)" in message
    assert message.endswith("; store them with transpose: false")
    assert list(read(layer(b"\x00"))) == ["fc7.weight"]


@pytest.mark.parametrize("length", [1, 2**31, 2**63 - 1, 2**64 - 1])
@pytest.mark.parametrize("path", [(1,), (9,), (100,), (100, 7), (100, 7, 5), (2, 6, 7, 1), (2, 4)], ids=str)
def test_lengths_beyond_the_end_are_refused_at_every_depth(path, length, error_of):
    *outer, number = path
    content = tagged(number, LENGTH, integer(length))
    for number in reversed(outer):
        content = sized(number, content)
    assert f", but its message ends at {len(content)})" in error_of(content)


def test_a_field_may_not_reach_beyond_its_message_into_the_next(error_of):
    content = sized(100, tagged(1, LENGTH, integer(9))) + Form().layer("a", "ReLU", Form().blob(np.ones(1)))
    assert "the field at byte 3 reaches to byte 14, but its message ends at 5" in error_of(content)


@pytest.mark.slow
@settings(max_examples=200)
@given(content=st.binary(max_size=200))
@example(content=b"\xa2\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
def test_random_bytes_raise_nothing_else(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "random.caffemodel"
    path.write_bytes(content)
    with suppress(ModelError):
        read_caffemodel(path)


@pytest.mark.slow
@settings(max_examples=200)
@given(
    form=st.sampled_from(FORMS),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_a_damaged_file_is_read_or_refused_but_never_crashes(form, changes, tmp_path_factory):
    content = bytearray(b"".join(fcn(form).parts))
    for place, value in changes:
        content[int(place * len(content))] = value
    path = tmp_path_factory.getbasetemp() / "damaged.caffemodel"
    path.write_bytes(content)
    with suppress(ModelError):
        read_caffemodel(path)
