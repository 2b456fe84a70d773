"""Hugging Face's `config.json` and `generation_config.json`: to a `ModelConfig` and back.

What the decoder cannot compute is refused here by name: a checkpoint that loads is one that is computed
as its authors meant it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from castline.errors import CheckpointError, DataError, RecipeError
from castline.files import read_json
from castline.model.config import ModelConfig
from castline.model.layouts import ARCHITECTURES, LayoutName
from castline.model.rope import ROPE_TYPES, RopeScaling
from castline.recipe import parse

_REQUIRED = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
)
# What Hugging Face's own classes take where the file is silent.
_DEFAULTS = {"max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "tie_word_embeddings": False}
_ROPE_THETA = 10_000.0


@dataclass(frozen=True)
class SpecialTokens:
    """Ids with a meaning for generation. Generating ends at any of `eos_ids`."""

    eos_ids: tuple[int, ...] = ()
    bos_id: int | None = None
    pad_id: int | None = None


NO_SPECIAL_TOKENS = SpecialTokens()


def read_config(folder: Path) -> tuple[ModelConfig, LayoutName, SpecialTokens]:
    """Read the configuration of a checkpoint folder.

    Raises:
        CheckpointError: no or a damaged `config.json`, an unsupported architecture or feature, values that
            make no model.
    """
    path = folder / "config.json"
    values = _read_object(path, f"expected a Hugging Face checkpoint folder, but {folder} has no config.json")
    layout = _layout(values, path)
    _refuse_unsupported(values, path)
    missing = [key for key in _REQUIRED if key not in values]
    if missing:
        raise CheckpointError(f"{path}: expected the keys {', '.join(missing)}, but they are missing")
    fields = _DEFAULTS | {key: value for key, value in values.items() if key in ModelConfig.model_fields}
    fields["rope_theta"], fields["rope_scaling"] = _rope(values, fields["max_position_embeddings"], path)
    if fields.get("num_key_value_heads") is None:
        fields["num_key_value_heads"] = values["num_attention_heads"]
    if fields.get("head_dim") is None:
        fields.pop("head_dim", None)
    try:
        config = parse(ModelConfig, fields, str(path))
    except RecipeError as error:
        raise CheckpointError(str(error)) from None
    if config.vocab_size == 0:
        raise CheckpointError(f"{path}: expected vocab_size to be at least 1, but got 0")
    return config, layout, _special_tokens(folder, values)


def config_json(config: ModelConfig, layout: LayoutName, tokens: SpecialTokens, dtype: str) -> dict[str, Any]:
    """The content of `config.json`; `dtype` is the tensors' type, such as "float32"."""
    values: dict[str, Any] = {
        "architectures": [ARCHITECTURES[layout]],
        "model_type": layout,
        **config.model_dump(exclude={"rope_scaling"}),
        "rope_scaling": _rope_scaling_json(config.rope_scaling, layout),
        "hidden_act": "silu",
        "torch_dtype": dtype,
    }
    if layout == "llama":
        values |= {"attention_bias": False, "mlp_bias": False}
    else:
        values |= {"bias": False}
    return values | _token_ids(tokens)


def generation_config_json(tokens: SpecialTokens) -> dict[str, Any]:
    """The content of `generation_config.json`."""
    return _token_ids(tokens)


def _token_ids(tokens: SpecialTokens) -> dict[str, Any]:
    eos: int | list[int] | None = list(tokens.eos_ids) or None
    if len(tokens.eos_ids) == 1:
        eos = tokens.eos_ids[0]
    ids = {"bos_token_id": tokens.bos_id, "eos_token_id": eos, "pad_token_id": tokens.pad_id}
    # Null is written for the first two: where they are missing, transformers would take 1 and 2.
    return {key: value for key, value in ids.items() if value is not None or key != "pad_token_id"}


def _read_object(path: Path, missing: str) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(missing)
    try:
        values = read_json(path)
    except DataError as error:
        raise CheckpointError(str(error)) from None
    if not isinstance(values, dict):
        raise CheckpointError(f"expected a JSON object in {path}, but found {type(values).__name__}")
    return values


def _layout(values: dict[str, Any], path: Path) -> LayoutName:
    found = values.get("architectures") or []
    for layout, architecture in ARCHITECTURES.items():
        if architecture in found or (not found and values.get("model_type") == layout):
            return layout
    named = ", ".join(map(str, found)) or values.get("model_type") or "none"
    raise CheckpointError(
        f"{path}: expected one of the architectures {', '.join(ARCHITECTURES.values())}, but found {named}; "
        "castline does not support it"
    )


def _refuse_unsupported(values: dict[str, Any], path: Path) -> None:
    expected = {
        "hidden_act": ("silu",),
        "attention_bias": (False,),
        "mlp_bias": (False,),
        "bias": (False,),
        "norm_head": (False,),
        "sliding_window": (None,),
        "quantization_config": (None,),
    }
    for key, allowed in expected.items():
        if key in values and values[key] not in allowed:
            raise CheckpointError(
                f"{path}: expected {key} to be {allowed[0]!r}, but found {values[key]!r}; castline does not support it"
            )


def _rope(values: dict[str, Any], trained: Any, path: Path) -> tuple[float, dict[str, Any] | None]:
    """RoPE's base and scaling, from where transformers 5 keeps them (`rope_parameters`) or 4 did (`rope_scaling`)."""
    parameters = values.get("rope_parameters") or values.get("rope_scaling") or {}
    if not isinstance(parameters, dict):
        raise CheckpointError(f"{path}: expected a table under rope_parameters, but found {parameters!r}")
    given = {key: value for key, value in parameters.items() if value is not None}
    theta = given.pop("rope_theta", values.get("rope_theta", _ROPE_THETA))
    if isinstance(theta, bool) or not isinstance(theta, int | float):
        raise CheckpointError(f"{path}: expected rope_theta to be a number, but found {theta!r}")
    old, kind = given.pop("type", "default"), given.pop("rope_type", None)
    kind = old if kind is None else kind
    if kind not in ("default", *ROPE_TYPES):
        raise CheckpointError(
            f"{path}: expected one of the RoPE types default, {', '.join(ROPE_TYPES)}, but found '{kind}'; castline "
            "does not support it"
        )
    if given.pop("partial_rotary_factor", 1) != 1:
        raise CheckpointError(f"{path}: expected RoPE over the whole head, but found a partial_rotary_factor below 1")
    original = values.get("original_max_position_embeddings", given.pop("original_max_position_embeddings", trained))
    if kind == "default":
        return float(theta), None
    if kind == "llama3":
        given["original_max_position_embeddings"] = original
    elif kind == "dynamic" and original != trained:
        raise CheckpointError(
            f"{path}: expected dynamic RoPE to begin at max_position_embeddings = {trained}, but found "
            f"original_max_position_embeddings = {original}; castline does not support it"
        )
    return float(theta), given | {"rope_type": kind}


def _rope_scaling_json(scaling: RopeScaling | None, layout: LayoutName) -> dict[str, Any] | None:
    if scaling is None:
        return None
    values = scaling.model_dump(exclude_none=True)
    if layout == "internlm2":  # its own code knows the older key alone
        values = {"type": values.pop("rope_type"), **values}
    return values


def _special_tokens(folder: Path, values: dict[str, Any]) -> SpecialTokens:
    """From `generation_config.json` where it is there (it wins in transformers too), else `config.json`."""
    generation = folder / "generation_config.json"
    if generation.is_file():
        values = values | {key: value for key, value in _read_object(generation, "").items() if value is not None}
    eos = values.get("eos_token_id")
    bos, pad = values.get("bos_token_id"), values.get("pad_token_id")
    ids = eos if isinstance(eos, list) else [] if eos is None else [eos]
    for value in [*ids, *(one for one in (bos, pad) if one is not None)]:
        if isinstance(value, bool) or not isinstance(value, int):
            raise CheckpointError(f"{folder}: expected token ids to be integers, but found {value!r}")
    return SpecialTokens(tuple(ids), bos, pad)
