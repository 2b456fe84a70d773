"""Recipes: TOML read into frozen pydantic models, `--set` overrides, all mistakes reported at once.

A stage keeps the model of its table beside the code that uses it (`corpus/config.py`, …) and derives it
from `Table`. `cli/recipe.py` puts the tables together; this file only reads, overrides and explains.
"""

import difflib
import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from castline.errors import RecipeError


class Table(BaseModel):
    """One table of a recipe: frozen, and without room for an unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


T = TypeVar("T", bound=Table)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a recipe file as plain values.

    Raises:
        RecipeError: the file is missing, not UTF-8, or not TOML.
    """
    try:
        return tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise RecipeError(
            f"expected a recipe at {path}, but there is no such file; `castline init` writes one"
        ) from None
    except IsADirectoryError:
        raise RecipeError(f"expected a recipe file at {path}, but it is a folder") from None
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"expected UTF-8 text in the recipe {path}, but found {error.reason}") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"expected TOML in the recipe {path}, but found: {error}") from None


def apply_overrides(values: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Apply `a.b=value` settings; the value is parsed as TOML, or taken as a string where it is not TOML.

    A number in the path picks an element of a list: `sources.0.weight=2`.

    Raises:
        RecipeError: an override has no `=`, or its path runs through something that is no table.
    """
    for override in overrides:
        path, separator, text = override.partition("=")
        if not separator or not path.strip():
            raise RecipeError(f"expected --set KEY=VALUE, but got '{override}'; for example --set train.steps=100")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        _set(values, [part.strip() for part in path.split(".")], value, override)
    return values


def _set(values: dict[str, Any], keys: list[str], value: Any, override: str) -> None:
    at: Any = values
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if isinstance(at, list):
            if not key.isdigit() or int(key) >= len(at):
                raise RecipeError(
                    f"--set {override}: expected an index below {len(at)} after "
                    f"'{'.'.join(keys[:depth])}', but got '{key}'"
                )
            if last:
                at[int(key)] = value
            else:
                at = at[int(key)]
        elif isinstance(at, dict):
            if last:
                at[key] = value
            else:
                at = at.setdefault(key, {})
        else:
            raise RecipeError(f"--set {override}: '{'.'.join(keys[:depth])}' is a value, not a table")


def parse(model: type[T], values: dict[str, Any], where: str) -> T:
    """Validate `values` against `model`.

    Raises:
        RecipeError: every mistake at once, each with its dotted path; a misspelt key names the nearest one.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_explain(model, item) for item in error.errors()]
        count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
        raise RecipeError(f"{where}: {count}\n" + "\n".join(f"  {line}" for line in lines)) from None


def _explain(model: type[BaseModel], item: Any) -> str:
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = _known_keys(model, item["loc"][:-1])
        near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(sorted(known))}"
        return f"{path}: unknown key; {hint}"
    if item["type"] == "missing":
        return f"{path}: a value is required, but the key is missing"
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if item["type"] in ("value_error", "assertion_error"):
        return f"{path}: {message}" if path else message
    return f"{path}: {message}, but got {item['input']!r}"


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int) or current is None:
            continue
        field = current.model_fields.get(part)
        if field is not None:
            current = _table_in(field.annotation)
    return list(current.model_fields) if current is not None else []


def _table_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = _table_in(argument)
        if found is not None:
            return found
    return None
