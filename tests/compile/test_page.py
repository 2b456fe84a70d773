"""The page of a proof: whole, without a network, and naming what verification.json says."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from castline.compile.build import build_package
from castline.compile.config import Bounds, CompileConfig
from castline.compile.package import PAGE, read_manifest
from castline.compile.page import write_page
from castline.compile.verify import read_verification

from .conftest import random_llama, write_tokenizer


class Balanced(HTMLParser):
    """Fails where tags are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("bound", [0.0, 0.5])
def test_the_page_says_what_was_measured(tmp_path: Path, bound: float) -> None:
    random_llama(tmp_path / "checkpoint")
    write_tokenizer(tmp_path / "checkpoint")
    config = CompileConfig(weights="int8", targets=("cpu", "onnx"), verify_tokens=128, bounds=Bounds(int8=bound))
    package = build_package(tmp_path / "checkpoint", tmp_path / "package", config, allow_unverified=True).package
    text = (package / PAGE).read_text()
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert not re.search(r"https?://|src=|<link|<script|@import|url\(", text)
    assert text.count("<polyline") == 2
    assert ("--allow-unverified" in text) == (bound == 0.0)
    manifest = read_manifest(package)
    verification = read_verification(package, manifest)
    for proof in verification.backends.values():
        worst = max(proof.layers, key=lambda error: error.kl)
        assert f"The layer that costs most is {worst.layer}:" in text
        assert f"{proof.measured.mean_kl:.3g}" in text
    write_page(tmp_path / "again.html", package, manifest, verification)
    assert (tmp_path / "again.html").read_text() == text
