import pytest
import torch

from maskpencil.errors import ConfigError
from maskpencil.hardware import autocast, choose_device, choose_precision, has_native_bf16

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Pretend that the machine offers these devices, and the CPU these instructions."""

    def pretend(*devices: str, instructions: tuple[str, ...] = (), cuda_bf16: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in devices)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in devices)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(instructions, True))
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


@pytest.mark.parametrize("instruction", ["avx512_bf16", "amx_bf16", "arm_bf16"])
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
    assert not has_native_bf16(MPS)
    assert choose_precision("auto", MPS) == "fp32"


def test_a_named_precision_is_taken_or_refused() -> None:
    assert choose_precision("bf16", CPU) == "bf16"
    assert choose_precision("fp32", CUDA) == "fp32"
    assert choose_precision("fp16", CUDA) == "fp16"
    with pytest.raises(ConfigError, match="fp16 needs a CUDA device, but the device is cpu"):
        choose_precision("fp16", CPU)
    with pytest.raises(ConfigError, match="must be auto, fp32, bf16 or fp16, but got 'half'"):
        choose_precision("half", CPU)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_convolutions_run_in_the_precision_chosen(precision: str, dtype: torch.dtype) -> None:
    convolution = torch.nn.Conv2d(3, 4, 3)
    with torch.no_grad(), autocast(CPU, precision):
        assert convolution(torch.zeros(1, 3, 8, 8)).dtype == dtype
