"""Where the numbers are computed: device, threads, precision, and generators that follow from a seed."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, distributed

from engine.errors import UserError

__all__ = [
    "cores",
    "describe",
    "device",
    "gathered",
    "generator",
    "loader_workers",
    "precision",
    "seed_of",
    "threads",
]

Precision = Literal["float32", "bfloat16"]

_PRECISIONS = ("auto", "float32", "bfloat16")
_MOST_LOADERS = 8


def device(name: str = "auto") -> torch.device:
    """Return the device that a setting names.

    Args:
        name: `auto` (the first GPU where there is one, else the CPU), `cpu`, `cuda` or `cuda:N`.

    Raises:
        UserError: Another name, or a GPU that is not there.
    """
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    if name == "cpu":
        return torch.device("cpu")
    wanted = re.fullmatch(r"cuda(?::(\d{1,3}))?", name)
    if wanted is None:
        raise UserError(
            f"device = '{name[:40]}' is not a choice.",
            "Accepted: auto, cpu, cuda, cuda:N.",
            "The default is auto.",
        )
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = int(wanted[1] or 0)
    if index >= found:
        built = "" if torch.version.cuda else " (it was built without CUDA)"
        raise UserError(
            f"device = '{name}' is not there: torch{built} sees {found} CUDA device(s).",
            "Accepted here: auto, cpu" + "".join(f", cuda:{i}" for i in range(found)) + ".",
            "Use --device auto; `wsss info` tells what torch sees.",
        )
    return torch.device("cuda", index)


def cores() -> int:
    """Return how many CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads(count: int | None = None) -> int:
    """Set how many CPU threads torch computes with, and return it.

    Args:
        count: At least 1; None leaves one core to the window.

    Raises:
        UserError: `count` is below 1.
    """
    if count is not None and count < 1:
        raise UserError(
            f"threads = {count} cannot be used.", "Accepted: 1 or more.", f"This machine has {cores()} cores."
        )
    chosen = max(1, cores() - 1) if count is None else count
    torch.set_num_threads(chosen)
    return chosen


def loader_workers(where: torch.device) -> int:
    """Return how many processes should prepare images: none on the CPU, whose cores the network needs."""
    return 0 if where.type == "cpu" else min(_MOST_LOADERS, max(0, cores() - 1))


def precision(where: torch.device, wanted: str = "auto") -> Precision:
    """Return the numbers that a backbone multiplies while it learns.

    Args:
        where: The device.
        wanted: `auto` (bfloat16 where the device computes in it), `float32` or `bfloat16`.

    Raises:
        UserError: Another name.
    """
    match wanted:
        case "auto":
            return "bfloat16" if _has_bf16(where) else "float32"
        case "float32" | "bfloat16":
            return wanted
        case _:
            raise UserError(
                f"precision = '{wanted[:40]}' is not a choice.",
                f"Accepted: {', '.join(_PRECISIONS)}.",
                "The default is auto.",
            )


def seed_of(seed: int, *keys: int | str) -> int:
    """Return 63 bits that follow from a seed and keys, the same on every machine and in every process."""
    # The lengths keep ("a", "bc") apart from ("ab", "c"), and the types 1 from "1".
    text = "".join(f"{type(k).__name__}{len(str(k))}:{k}" for k in (seed, *keys))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *keys: int | str) -> torch.Generator:
    """Return a random generator of the CPU that follows from a seed and keys (an epoch, a stem).

    What is drawn for one image then depends neither on the order of the images nor on the
    process that draws it.
    """
    return torch.Generator().manual_seed(seed_of(seed, *keys))


def gathered(parts: Iterable[Tensor]) -> list[Tensor]:
    """Return tensors joined over all ranks along their first axis, in the order of the ranks.

    Every rank calls it with the same number of parts of the same kinds; their lengths may differ from rank to rank.
    """
    mine = list(parts)
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return mine
    world = distributed.get_world_size()
    found = []
    for part in mine:
        length = torch.tensor([len(part)], device=part.device)
        lengths = [torch.zeros_like(length) for _ in range(world)]
        distributed.all_gather(lengths, length)
        most = max(int(n) for n in lengths)
        padded = part.new_zeros(most, *part.shape[1:])
        padded[: len(part)] = part
        every = [torch.empty_like(padded) for _ in range(world)]
        distributed.all_gather(every, padded.contiguous())
        found.append(torch.cat([rows[: int(n)] for rows, n in zip(every, lengths, strict=True)]))
    return found


def describe() -> dict[str, Any]:
    """Return what `wsss info` tells of the machine: versions, devices, memory in bytes, cores."""
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else range(0)
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "device": str(device("auto")),
        "precision": precision(device("auto")),
        "threads": torch.get_num_threads(),
        "cpu": {
            "name": str(_cpu_facts().get("cpu_name", "")),
            "cores": cores(),
            "memory": _memory(),
            "bf16": _has_bf16(torch.device("cpu")),
        },
        "gpus": [
            {
                "name": torch.cuda.get_device_name(i),
                "memory": torch.cuda.get_device_properties(i).total_memory,
                "bf16": _has_bf16(torch.device("cuda", i)),
            }
            for i in gpus
        ],
    }


def _has_bf16(where: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 in hardware; emulation is slower than float32."""
    if where.type == "cuda":
        # Tensor cores take bfloat16 from compute capability 8.0 (Ampere) on.
        return torch.cuda.get_device_capability(where)[0] >= 8
    if where.type == "cpu":
        able = _cpu_facts()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return False


def _cpu_facts() -> Mapping[str, Any]:
    """Return what torch tells of the CPU; releases before it told count as a CPU without bfloat16."""
    tell = getattr(torch.cpu, "get_capabilities", None)
    return tell() if tell is not None else {}


def _memory() -> int | None:
    """Return the machine's memory in bytes, or None where the system does not tell (Windows)."""
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names or "SC_PAGE_SIZE" not in names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
