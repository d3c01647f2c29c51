import sys

import pytest
import torch

from maskpencil import hardware
from maskpencil.errors import ConfigError
from maskpencil.hardware import (
    autocast,
    choose_device,
    choose_precision,
    choose_runtime,
    computes_on_cpu,
    cpu_instructions,
    has_native_bf16,
    may_lack_torch_for_gpu,
)

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Pretend that the machine offers these devices, and the CPU these instructions."""

    def pretend(*devices: str, instructions: tuple[str, ...] = (), cuda_bf16: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in devices)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in devices)
        monkeypatch.setattr(hardware, "cpu_instructions", lambda: frozenset(instructions))
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: cuda_bf16)

    return pretend


@pytest.mark.parametrize(
    ("devices", "chosen"), [(("cuda", "mps"), CUDA), (("cuda",), CUDA), (("mps",), MPS), ((), CPU)]
)
def test_auto_takes_cuda_then_mps_then_the_cpu(machine, devices: tuple[str, ...], chosen: torch.device) -> None:
    machine(*devices)
    assert choose_device() == choose_device("auto") == chosen
    assert choose_device("cpu") == CPU
    for name in devices:
        assert choose_device(name) == torch.device(name)


def test_a_device_that_is_not_there_is_refused(machine) -> None:
    machine()
    with pytest.raises(ConfigError, match="'cuda' is not on this machine; use auto or cpu"):
        choose_device("cuda")
    with pytest.raises(ConfigError, match="must be auto, cpu, cuda or mps, but got 'gpu'"):
        choose_device("gpu")


@pytest.mark.parametrize("instruction", ["avx512_bf16", "amx_bf16", "arm_bf16", "bf16"])
def test_auto_is_bf16_where_the_cpu_computes_it(machine, instruction: str) -> None:
    machine(instructions=("avx2", instruction))
    assert choose_precision("auto", CPU) == "bf16"
    machine(instructions=("avx2", "avx512_f"))
    assert choose_precision("auto", CPU) == "fp32"


@pytest.mark.parametrize(("native", "precision"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bf16_where_the_gpu_computes_it(machine, native: bool, precision: str) -> None:
    machine("cuda", cuda_bf16=native)
    assert choose_precision("auto", CUDA) == precision


def test_auto_is_fp32_on_mps() -> None:
    assert not has_native_bf16("mps")
    assert choose_precision("auto", MPS) == "fp32"


def test_a_named_precision_is_taken_or_refused() -> None:
    assert choose_precision("bf16", CPU) == "bf16"
    assert choose_precision("fp32", CUDA) == "fp32"
    assert choose_precision("fp16", CUDA) == "fp16"
    with pytest.raises(ConfigError, match="fp16 needs a CUDA device, but the device is cpu"):
        choose_precision("fp16", CPU)
    with pytest.raises(ConfigError, match="must be auto, fp32, bf16, fp16 or int8, but got 'half'"):
        choose_precision("half", CPU)


def test_int8_without_a_quantized_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="int8 needs a quantized model; make one with maskpencil quantize"):
        choose_precision("int8", "cpu")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="torch is asked elsewhere")
def test_the_instructions_from_linux_are_those_that_torch_reports() -> None:
    seen = {name for name, there in torch.cpu.get_capabilities().items() if there is True}
    for name in ("avx2", "avx512_bf16", "amx_bf16"):
        assert (name in cpu_instructions()) == (name in seen)


def test_openvino_runs_on_the_cpu_and_torch_elsewhere(machine) -> None:
    assert choose_runtime("auto", on_cpu=True) == "openvino"
    assert choose_runtime("auto", on_cpu=False) == "torch"
    assert choose_runtime("torch", on_cpu=True) == "torch"
    for name in ("openvino", "onnx"):
        assert choose_runtime(name, on_cpu=True) == name
        with pytest.raises(ConfigError, match=f"{name} computes on the CPU; add --device cpu"):
            choose_runtime(name, on_cpu=False)
    with pytest.raises(ConfigError, match="runtime must be auto, torch, openvino or onnx, but got 'jax'"):
        choose_runtime("jax", on_cpu=True)


def test_torch_is_imported_only_if_there_may_be_a_gpu(machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine("cuda")
    monkeypatch.setattr(hardware, "_DRIVERS", ("/",))
    assert not computes_on_cpu()
    assert computes_on_cpu("cpu")
    monkeypatch.setattr(hardware, "_DRIVERS", ())
    assert computes_on_cpu() == sys.platform.startswith("linux")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there may always be a GPU")
def test_without_torch_auto_is_the_cpu_and_an_unused_gpu_is_detected(machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine("cuda")
    monkeypatch.setattr(hardware, "_DRIVERS", ("/",))
    assert not may_lack_torch_for_gpu()
    monkeypatch.setitem(sys.modules, "torch", None)
    assert may_lack_torch_for_gpu()
    assert computes_on_cpu()
    for name in ("cuda", "mps"):
        with pytest.raises(ConfigError, match=rf"^--device {name} needs torch; install it with pip install"):
            computes_on_cpu(name)
    with pytest.raises(ConfigError, match="must be auto, cpu, cuda or mps, but got 'gpu'"):
        computes_on_cpu("gpu")
    monkeypatch.setattr(hardware, "_DRIVERS", ())
    assert not may_lack_torch_for_gpu()


def test_without_linux_and_torch_the_instructions_are_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert "avx2" in cpu_instructions() or not torch.cpu.get_capabilities().get("avx2")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert cpu_instructions() == frozenset()
    assert choose_precision("auto", "cpu") == "fp32"


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_convolutions_run_in_the_precision_chosen(precision: str, dtype: torch.dtype) -> None:
    convolution = torch.nn.Conv2d(3, 4, 3)
    with torch.no_grad(), autocast(CPU, precision):
        assert convolution(torch.zeros(1, 3, 8, 8)).dtype == dtype
