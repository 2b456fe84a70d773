"""The trainer's checkpoints: a Hugging Face folder with `trainer_state/` beside the weights, from which a run goes on.

    step-00000200/config.json, model.safetensors, …      the model, as anybody reads it
    step-00000200/trainer_state/optimizer.safetensors    AdamW's moments, by parameter
    step-00000200/trainer_state/state.json               step, tokens, length of metrics.jsonl, SHA-256 of every file

The data's order is a function of the seed and the step, and the model draws no random numbers while it trains, so this
is all that a bitwise resume needs.
"""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch.optim import AdamW

from castline import files
from castline.errors import CheckpointError, DataError
from castline.model.checkpoint import CheckpointReader, write_checkpoint_files
from castline.model.decoder import Decoder
from castline.model.hf_config import SpecialTokens
from castline.model.layouts import from_llama, to_llama
from castline.model.optimizer import optimizer_tensors, restore_optimizer

_OPTIMIZER = "trainer_state/optimizer.safetensors"
_STATE = "trainer_state/state.json"


@dataclass(frozen=True)
class Progress:
    """How far a run is: steps done, tokens seen, bytes of `metrics.jsonl` written."""

    step: int = 0
    tokens: int = 0
    metrics_bytes: int = 0


def state_folder(checkpoints: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return checkpoints / f"step-{step:08}"


def save_state(
    folder: Path,
    decoder: Decoder,
    optimizer: AdamW,
    progress: Progress,
    *,
    special_tokens: SpecialTokens,
    extra_files: Mapping[str, bytes],
) -> None:
    """Write a checkpoint to go on from; it appears whole or not at all.

    Raises:
        CheckpointError: a weight is not finite.
        DeviceError: the disk is full, or the folder cannot be written.
    """
    with files.atomic_folder(folder) as temporary:
        tensors = to_llama(decoder.config, dict(decoder.named_parameters()))
        write_checkpoint_files(
            temporary, decoder.config, tensors, special_tokens=special_tokens, extra_files=extra_files
        )
        files.write_bytes(temporary / _OPTIMIZER, save(optimizer_tensors(decoder, optimizer)))
        state = asdict(progress) | {"files": _hashes(temporary)}
        files.write_json(temporary / _STATE, state | {"sha256": files.sha256_json(state)})


def load_state(folder: Path, decoder: Decoder, optimizer: AdamW) -> Progress:
    """Put a checkpoint's weights and moments into the decoder and the optimizer, bit for bit.

    Raises:
        CheckpointError: a file is missing or is not what was written.
    """
    try:
        state = files.read_json(folder / _STATE)
        found = _hashes(folder)
        changed = [name for name, expected in state["files"].items() if found.get(name) != expected]
        if state.pop("sha256") != files.sha256_json(state):
            changed.append(_STATE)
        if changed:
            raise CheckpointError(f"expected {changed[0]} as the trainer wrote it, but it has changed")
        reader = CheckpointReader(folder)
        decoder.load_state_dict(from_llama(reader.config, reader.tensor), strict=not decoder.config.tie_word_embeddings)
        restore_optimizer(decoder, optimizer, load_file(folder / _OPTIMIZER))
        return Progress(state["step"], state["tokens"], state["metrics_bytes"])
    except (DataError, SafetensorError, OSError, AttributeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder} is damaged: {error}") from error


def list_states(checkpoints: Path) -> list[Path]:
    """The checkpoints of a run, the newest first."""
    return sorted(checkpoints.glob("step-*"), reverse=True)


def prune(checkpoints: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints, and what an interrupted write has left."""
    leftovers = [path for path in checkpoints.glob(".step-*") if path.suffix in (".tmp", ".old")]
    for path in list_states(checkpoints)[keep:] + leftovers:
        shutil.rmtree(path)


def _hashes(folder: Path) -> dict[str, Any]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / _STATE)
    return {path.relative_to(folder).as_posix(): files.sha256_file(path) for path in paths}
