"""The JSON Schema of package.json, for readers in other languages: docs/package.schema.json.

python -m castline.compile.schema > docs/package.schema.json
"""

import json
from typing import Any

from castline.compile.package import SCHEMA_VERSION, Manifest


def package_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of the manifests that this castline writes."""
    schema = Manifest.model_json_schema()
    schema["properties"]["schema_version"]["const"] = SCHEMA_VERSION
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "castline package manifest",
        "description": "package.json of a castline package. Every change of the manifest raises schema_version, and a "
        "castline reads every version up to its own.",
    }


def schema_text() -> str:
    """The file's content."""
    return json.dumps(package_schema(), indent=2) + "\n"


if __name__ == "__main__":
    print(schema_text(), end="")
