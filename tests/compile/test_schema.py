"""The published JSON Schema of package.json: it is what the code reads, and real manifests are valid."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from castline.compile.build import build_package
from castline.compile.config import CompileConfig
from castline.compile.schema import schema_text

from .conftest import random_llama, write_tokenizer

PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "package.schema.json"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of a package with every kind of backend that can be built here."""
    folder = tmp_path_factory.mktemp("package")
    random_llama(folder / "checkpoint")
    write_tokenizer(folder / "checkpoint")
    (folder / "checkpoint" / "castline.json").write_text('{"run": {"seed": 1}, "tokens": 5}')
    try:
        import tensorrt_rtx  # noqa: F401
    except ModuleNotFoundError:
        config = CompileConfig(targets=("cpu", "onnx"), weights="int4", verify_tokens=64)
    else:
        targets = ("cpu", "onnx", "tensorrt-rtx")
        config = CompileConfig(targets=targets, weights="int4", compute_capability=("8.9",), verify_tokens=64)
    package = build_package(folder / "checkpoint", folder / "package", config).package
    values: dict[str, Any] = json.loads((package / "package.json").read_text())
    return values


def test_the_published_schema_is_the_codes() -> None:
    assert PUBLISHED.read_text() == schema_text(), "run: python -m castline.compile.schema > docs/package.schema.json"


def test_a_real_manifest_is_valid(manifest: dict[str, Any]) -> None:
    schema = json.loads(PUBLISHED.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(manifest)


@pytest.mark.parametrize(
    ("key", "value"),
    [("schema_version", 2), ("files", []), ("unknown", 1), ("model", {"vocab_size": -1}), ("castline_version", None)],
)
def test_another_manifest_is_not(manifest: dict[str, Any], key: str, value: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest | {key: value}, json.loads(PUBLISHED.read_text()))
