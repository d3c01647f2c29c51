"""Choose device, runtime and precision, and define what `auto` means for each."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from maskpencil.errors import ConfigError
from maskpencil.extras import is_installed, needed_for
from maskpencil.parsing import read_choice

if TYPE_CHECKING:
    import torch

# torch is imported inside functions: the other runtimes run without it

RUNTIMES = ("auto", "torch", "openvino", "onnx")
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")

_DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/nvmap", "/dev/kfd")  # NVIDIA on Linux, on WSL, on Jetson; AMD
_NATIVE_BF16 = frozenset({"avx512_bf16", "amx_bf16", "arm_bf16", "bf16"})


def device_name(device: Any) -> Any:
    """Return the name of a `torch.device`, such as cuda, for `choose_device`; return any other value unchanged.

    Raises:
        ConfigError: the device is a GPU other than the first.
    """
    if "torch" not in sys.modules or not isinstance(device, sys.modules["torch"].device):
        return device
    if device.index:
        raise ConfigError(
            f"device must be auto, cpu, cuda or mps, but got {device}; set the environment variable "
            f"CUDA_VISIBLE_DEVICES={device.index} before Python starts, and use cuda"
        )
    return device.type


def choose_device(name: str = "auto") -> "torch.device":
    """Return the device to compute on.

    `auto` is CUDA if the machine has a GPU for CUDA, else Apple's MPS, else the CPU.

    Raises:
        ConfigError: the device is unknown or not on this machine.
    """
    name = read_choice("device", name, ("auto", "cpu", "cuda", "mps"))
    with needed_for(f"--device {name}"):
        import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, there in available.items() if there))
    if not available[name]:
        raise ConfigError(f"device {name!r} is not on this machine; use auto or cpu")
    return torch.device(name)


def computes_on_cpu(name: str = "auto") -> bool:
    """Return whether a network runs on the CPU with the device `name`.

    torch is imported only if the machine may have a GPU.

    Only torch runs networks on GPUs, so without it `auto` is the CPU.

    Raises:
        ConfigError: the device is unknown or not on this machine, or needs torch, which is not installed.
    """
    if isinstance(name, str) and (
        name == "cpu" or (name == "auto" and not (_may_have_gpu() and is_installed("torch")))
    ):
        return True
    return choose_device(name).type == "cpu"


def may_lack_torch_for_gpu() -> bool:
    """Return whether this machine may have a GPU that stays unused because torch is not installed."""
    return _may_have_gpu() and not is_installed("torch")


def _may_have_gpu() -> bool:
    return not sys.platform.startswith("linux") or any(Path(driver).exists() for driver in _DRIVERS)


def choose_runtime(name: str, *, on_cpu: bool) -> str:
    """Return the name of the runtime for a network; `auto` is openvino on the CPU, else torch.

    Raises:
        ConfigError: the runtime is unknown, or runs on CPUs only and `on_cpu` is False.
    """
    name = read_choice("runtime", name, RUNTIMES)
    if name in ("openvino", "onnx") and not on_cpu:
        raise ConfigError(f"runtime {name} computes on the CPU; add --device cpu, or use --runtime auto")
    return ("openvino" if on_cpu else "torch") if name == "auto" else name


def choose_precision(name: str, device: "torch.device | str") -> str:
    """Return the name of the convolutions' precision; `auto` is bf16 if `device` computes it natively, else fp32.

    Raises:
        ConfigError: the precision is unknown, is int8, which only quantized models have, or is not supported by the
            device.
    """
    kind = device if isinstance(device, str) else device.type
    name = read_choice("precision", name, PRECISIONS)
    if name == "fp16" and kind != "cuda":
        raise ConfigError(f"precision fp16 needs a CUDA device, but the device is {kind}; use bf16 or fp32")
    if name == "int8":
        raise ConfigError("precision int8 needs a quantized model; make one with maskpencil quantize MODEL DATA")
    if name == "auto":
        return "bf16" if has_native_bf16(kind) else "fp32"
    return name


def has_native_bf16(device: str) -> bool:
    """Return whether a device (cuda, mps or cpu) multiplies bf16 numbers in hardware, without converting them."""
    if device == "cuda":
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and bool(_NATIVE_BF16 & cpu_instructions())


def cpu_instructions() -> frozenset[str]:
    """Return the names of this machine's CPU instruction sets.

    On systems other than Linux torch finds the names; without torch the set is empty.
    """
    if sys.platform.startswith("linux"):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        named = next((line for line in lines if line.startswith(("flags", "Features"))), "")
        return frozenset(named.partition(":")[2].split())
    if not is_installed("torch"):
        return frozenset()
    import torch

    return frozenset(name for name, there in torch.cpu.get_capabilities().items() if there)


def autocast(device: "torch.device", precision: str) -> "torch.autocast":
    """Return a context in which convolutions run in `precision`."""
    import torch

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32")


def peak_memory() -> int:
    """Return the peak memory (RSS) of this process in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # after a fork, getrusage would return the parent's
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def available_memory() -> int:
    """Return the bytes of main memory that are available without swapping."""
    return int(psutil.virtual_memory().available)
