"""What the machine offers: the rules behind `device="auto"` and `precision="auto"`."""

import psutil
import torch

from maskpencil.errors import ConfigError


def choose_device(name: str = "auto") -> torch.device:
    """Name the device to compute on; `auto` is CUDA where there is a device, else Apple's MPS, else the CPU.

    Raises:
        ConfigError: the device is unknown or not on this machine.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, there in available.items() if there))
    if name not in available:
        raise ConfigError(f"device must be auto, cpu, cuda or mps, but got {name!r}")
    if not available[name]:
        raise ConfigError(f"device {name!r} is not on this machine; use auto or cpu")
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> str:
    """Name the precision of the convolutions; `auto` is bf16 where `device` computes it natively, else fp32.

    Raises:
        ConfigError: the precision is unknown or the device lacks it.
    """
    if name not in ("auto", "fp32", "bf16", "fp16"):
        raise ConfigError(f"precision must be auto, fp32, bf16 or fp16, but got {name!r}")
    if name == "fp16" and device.type != "cuda":
        raise ConfigError(f"precision fp16 needs a CUDA device, but the device is {device.type}; use bf16 or fp32")
    if name == "auto":
        return "bf16" if has_native_bf16(device) else "fp32"
    return name


def has_native_bf16(device: torch.device) -> bool:
    """Whether `device` multiplies bf16 numbers in hardware, and not by converting them."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "arm_bf16"))
    return False


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A context in which convolutions run in `precision`."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32")


def available_memory() -> int:
    """The bytes of main memory that can be taken without swapping."""
    return int(psutil.virtual_memory().available)
