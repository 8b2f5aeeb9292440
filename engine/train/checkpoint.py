"""Weights and all that an exact resume needs, written whole and read without pickle's powers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from engine.atomic import write_bytes, writing
from engine.errors import UserError
from engine.store import Run, digest_of

__all__ = ["load_trainer", "load_weights", "save_trainer", "save_weights"]


def save_weights(net: nn.Module, path: Path, facts: dict[str, str] | None = None) -> None:
    """Write every parameter and buffer as safetensors, atomically."""
    state = {k: v.detach().cpu().contiguous() for k, v in net.state_dict().items()}
    write_bytes(path, save_tensors(state, metadata=facts))


def load_weights(net: nn.Module, path: Path) -> None:
    """Fill a network from a run's weights; every key must be there and fit.

    Raises:
        UserError: The file is missing, damaged, or of another network.
    """
    try:
        state = load_tensors(path.read_bytes())
        net.load_state_dict(state, strict=True)
    except FileNotFoundError:
        raise UserError(
            f"The run {path.parent.name} has no weights yet.",
            "A run that finished at least one checkpoint has them.",
            f"Go on with its training: `wsss train METHOD --run {path.parent.name} --resume`.",
        ) from None
    except (safetensors.SafetensorError, RuntimeError, ValueError) as error:
        raise UserError(
            f"{path} cannot be used: {str(error).splitlines()[0]}.",
            "The weights of the same method with the same parameters fit.",
            "Train the run again.",
        ) from None


def save_trainer(
    run: Run, net: nn.Module, optimiser: dict[str, Any], step: int, extra: dict[str, Any]
) -> None:
    """Write the state of a training after `step` steps, atomically; weights are in it too.

    One file holds both, so that a kill can never leave weights of one step beside the
    optimiser of another.
    """
    state: dict[str, Tensor] = {k: v.detach().cpu() for k, v in net.state_dict().items()}
    with writing(run.trainer) as file:
        torch.save(
            {"net": state, "optimiser": optimiser, "step": step, "extra": extra, "job": _job(run)}, file
        )


def load_trainer(run: Run) -> dict[str, Any] | None:
    """Return what `save_trainer` wrote, or None when there is no checkpoint yet.

    Raises:
        UserError: It is damaged, or belongs to a run with other parameters.
    """
    if not run.trainer.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(run.trainer, map_location="cpu", weights_only=True)
        step, net = state["step"], state["net"]
    except Exception as error:  # torch raises a dozen types for damaged files
        raise UserError(
            f"The checkpoint {run.trainer} cannot be read: {type(error).__name__}.",
            "",
            "Delete it to train the run from the start.",
        ) from error
    if not isinstance(step, int) or not isinstance(net, dict) or state.get("job") != _job(run):
        raise UserError(
            f"The checkpoint {run.trainer} belongs to a training with other parameters.",
            "A run goes on with the parameters it began with.",
            "Start a new run to train with others.",
        )
    return state


def _job(run: Run) -> str:
    return digest_of([run.facts.get(k) for k in ("method", "version", "params", "plan", "classes")])
