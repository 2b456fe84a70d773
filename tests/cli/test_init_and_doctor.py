import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from castline.cli.init import starter_recipe
from castline.corpus.config import CorpusConfig
from castline.errors import DataError
from castline.model.config import RunConfig


def castline(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from castline.cli.main import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_starter_recipe_fits_what_is_there_and_is_valid(tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "a.txt").write_text("text")
    (tmp_path / "books" / "b.html").write_text("<p>text")
    (tmp_path / "project" / "lib").mkdir(parents=True)
    (tmp_path / "project" / "lib" / "a.py").write_text("x = 1")
    (tmp_path / "notes.md").write_text("# note")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config.txt").write_text("not data")
    values = tomllib.loads(starter_recipe(tmp_path))
    corpus = CorpusConfig.model_validate(
        {key: value for key, value in values.items() if key in CorpusConfig.model_fields}
    )
    found = {(source.path, source.kind) for source in corpus.sources}
    assert found == {
        ("books/**/*.txt", "text"),
        ("books/**/*.html", "text"),
        ("project/**/*", "code"),
        ("*.md", "text"),
    }
    RunConfig.model_validate({key: value for key, value in values.items() if key in RunConfig.model_fields})


def test_init_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found none"):
        starter_recipe(tmp_path)
    missing = castline("init", str(tmp_path / "none"))
    assert missing.returncode == 3
    assert "expected a folder" in missing.stderr
    (tmp_path / "a.txt").write_text("text")
    first = castline("init", str(tmp_path))
    assert first.returncode == 0, first.stderr
    assert first.stdout.strip() == str(tmp_path / "recipe.toml")
    again = castline("init", str(tmp_path))
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert "Traceback" not in missing.stderr + again.stderr


def test_doctor_says_what_this_machine_has() -> None:
    done = castline("doctor", "--json")
    assert done.returncode == 0, done.stderr
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["torch"]["present"]
    assert findings["castline._C"]["present"]
    assert f"{len(os.sched_getaffinity(0))} cores" in findings["processor"]["found"]
    assert all(finding["present"] or finding["advice"] for finding in findings.values())


def test_version_and_usage() -> None:
    version = castline("--version")
    assert version.stdout.startswith("castline 0.")
    assert version.returncode == 0
    unknown = castline("compil")
    assert unknown.returncode == 2
    assert "Traceback" not in unknown.stderr
