"""fastText models are checked before fastText sees them, and what passes the check does not crash it."""

import struct
import subprocess
import sys
from pathlib import Path

import fasttext
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castline.corpus.annotate.config import LanguageConfig
from castline.corpus.annotate.fasttext_format import check_classifier
from castline.corpus.annotate.language import find_model
from castline.errors import DataError

LINES = ["__label__yes the quick brown fox", "__label__no lorem ipsum dolor", "__label__yes a brown dog"] * 20


@pytest.fixture(scope="module", params=["softmax", "hs", "ova", "quantised"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    (folder / "lines.txt").write_text("\n".join(LINES) + "\n")
    quantised = request.param == "quantised"
    loss = "softmax" if quantised else request.param
    options = {"minn": 2, "maxn": 3, "bucket": 400} if quantised else {"wordNgrams": 2, "bucket": 50}
    trained = fasttext.train_supervised(
        str(folder / "lines.txt"), dim=8, epoch=1, loss=loss, thread=1, verbose=0, minCount=1, **options
    )
    if quantised:
        trained.quantize(str(folder / "lines.txt"), qnorm=True, retrain=False, cutoff=300, verbose=0)
    trained.save_model(str(folder / "model.bin"))
    return folder / "model.bin"


def test_whole_models_pass(model: Path) -> None:
    assert sorted(check_classifier(model)) == ["no", "yes"]


def test_the_language_model_passes() -> None:
    path = find_model(LanguageConfig(), Path())
    assert path is not None
    labels = check_classifier(path)
    assert len(labels) == 176
    assert {"en", "zh", "de"} <= set(labels)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_model_is_refused(model: Path, tmp_path: Path, share: float) -> None:
    data = model.read_bytes()
    (tmp_path / "cut.bin").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=r"cut\.bin: expected a fastText classifier"):
        check_classifier(tmp_path / "cut.bin")


def test_what_is_behind_the_end_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "long.bin").write_bytes(model.read_bytes() + b"\0")
    with pytest.raises(DataError, match="goes on for 1 bytes behind its end"):
        check_classifier(tmp_path / "long.bin")


def test_word_vectors_are_no_classifier(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a few words for word vectors\n" * 50)
    vectors = fasttext.train_unsupervised(str(tmp_path / "text.txt"), dim=4, epoch=1, bucket=10, thread=1, verbose=0)
    vectors.save_model(str(tmp_path / "vectors.bin"))
    with pytest.raises(DataError, match="holds word vectors, not a classifier"):
        check_classifier(tmp_path / "vectors.bin")


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the fastText model .*none\.bin: No such file"):
        check_classifier(tmp_path / "none.bin")


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_field_is_refused_or_harmless(
    model: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any four bytes replaced: the check refuses the file, or sizes and indices are as they were."""
    whole = bytearray(model.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 4))
    struct.pack_into("<i", whole, at, data.draw(st.integers(-(2**31), 2**31 - 1)))
    path = tmp_path_factory.mktemp("damaged") / "model.bin"
    path.write_bytes(whole)
    try:
        labels = check_classifier(path)
    except DataError:
        return
    assert len(labels) == 2


def test_fasttext_survives_what_passes(model: Path, tmp_path: Path) -> None:
    """In a process of its own: every damaged copy that passes the check is loaded and applied without a crash."""
    whole = model.read_bytes()
    passed = []
    for number, at in enumerate(range(0, min(len(whole) - 4, 700), 3)):
        for value in (0, -1, 2**31 - 1):
            damaged = bytearray(whole)
            struct.pack_into("<i", damaged, at, value)
            path = tmp_path / f"{number}_{value}.bin"
            path.write_bytes(damaged)
            try:
                check_classifier(path)
            except DataError:
                path.unlink()
            else:
                passed.append(str(path))
    assert passed
    program = (
        "import sys, fasttext\n"
        "for path in sys.argv[1:]:\n"
        "    try: fasttext.load_model(path).predict('a brown fox and a dog', k=2)\n"
        "    except (RuntimeError, ValueError, UnicodeDecodeError): pass\n"
    )
    done = subprocess.run([sys.executable, "-c", program, *passed], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
