"""Quality of code: comments against other parsers, what lowers a score, generated and minified files, classes."""

import ast
import io
import keyword
import re
import sysconfig
import tokenize
import tomllib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pygments import lexers
from pygments.token import Comment

from castline.corpus.build import CorpusSummary, build_corpus
from castline.corpus.code.classes import HIGH, LOW, MODERATE, quality_classes
from castline.corpus.code.config import CodeConfig
from castline.corpus.code.generated import is_generated
from castline.corpus.code.language import detect_language
from castline.corpus.code.measurements import CodeMeasurements, measure_code
from castline.corpus.code.syntax import divide, has_syntax
from castline.corpus.config import CorpusConfig
from castline.corpus.explain import explain_document
from castline.corpus.readers.languages import programming_language
from castline.corpus.redecide import redecide
from castline.corpus.tables import read_table
from castline.errors import DataError, RecipeError

from .conftest import STDLIB, configure

PACKAGES = Path(pytest.__file__).parents[1]
HANDWRITTEN = sorted([*STDLIB.glob("json/*.py"), *STDLIB.glob("email/*.py"), *STDLIB.glob("asyncio/*.py")])


def comments(language: str, text: str) -> list[str]:
    return [piece.text for piece in divide(text, language) if piece.kind == "comment"]


def measured(path: Path, language: str = "python") -> CodeMeasurements:
    return measure_code(path.name, language, path.read_text(encoding="utf-8"))


def test_comments_of_python_are_those_that_python_sees() -> None:
    read = 0
    for path in [*HANDWRITTEN, *sorted(STDLIB.glob("[a-d]*.py"))]:
        text = path.read_text(encoding="utf-8")
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        expected = [token.string for token in tokens if token.type == tokenize.COMMENT]
        found = comments("python", text)
        assert [comment for comment in found if comment.startswith("#")] == expected, path
        nodes = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        documentation = {
            ast.get_docstring(node, clean=False) for node in ast.walk(ast.parse(text)) if isinstance(node, nodes)
        }
        triple = {comment[3:-3] for comment in found if not comment.startswith("#")}
        plain = {string for string in documentation if string and "\n" in string and "\\" not in repr(string)}
        assert plain <= triple, path
        read += len(expected)
    assert read > 2000


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("c", 'int a; // one\nchar *s = "// none /* none */"; /* two\n lines */ char c = \'"\'; // last\n'),
        ("go", "x := `// none\n` // one\ny := '\"' /* two */\n"),
        ("java", 'String s = """\n// none\n"""; /** doc */ int x; // end\n'),
        ("javascript", "const a = `// ${b} none`; // one\nlet s = 'it\\'s // none'; /* two */\n"),
        ("rust", 'fn f<\'a>(x: &\'a str) {} // one\nlet s = r#"// "none""#; let c = \'"\'; // two\n'),
        ("sql", "select 'a -- none' from t -- one\n/* two */\n"),
        ("lua", 's = "-- none" -- one\n--[[ two\nlines ]] x = 1\n'),
        ("haskell", 'f = "-- none" -- one\n{- two\nlines -}\n'),
        ("ruby", "a = '# none' # one\n"),
        ("css", "a { content: '/* none */' } /* one */\n"),
        ("html", "<p>text</p><!-- one\ntwo --><b>x</b>"),
        ("ocaml", 'let s = "(* none *)" (* one *)\n'),
        ("fortran", "print *, '! none' ! one\n"),
        ("matlab", 's = "% none"; % one\n'),
        ("erlang", 'x() -> "% none". % one\n'),
        ("emacs-lisp", '(message "; none") ; one\n'),
    ],
)
def test_comments_of_other_languages(language: str, text: str) -> None:
    lexer = lexers.get_lexer_by_name({"c++": "cpp"}.get(language, language), stripnl=False, ensurenl=False)
    expected = "".join(value for kind, value in lexer.get_tokens(text) if kind in Comment)
    assert expected
    assert "".join("".join(comments(language, text)).split()) == "".join(expected.split())


def test_comments_of_real_headers() -> None:
    headers = sorted((PACKAGES / "pybind11" / "include").rglob("*.h"))
    assert len(headers) > 20
    for path in headers:
        text = path.read_text(encoding="utf-8")
        if "#if 0" in text:  # a comment to that parser, code to ours
            continue
        tokens = lexers.get_lexer_by_name("cpp", stripnl=False).get_tokens(text)
        # Preprocessor lines are a kind of comment there.
        expected = "".join(
            v for kind, v in tokens if kind in Comment and kind not in Comment.Preproc and kind != Comment.PreprocFile
        )
        assert "".join("".join(comments("c++", text)).split()) == "".join(expected.split()), path


LANGUAGES = sorted({"python", "c", "rust", "go", "lua", "html", "pascal", "sql", "emacs-lisp", "unknown", "javascript"})


@given(language=st.sampled_from(LANGUAGES), text=st.text(alphabet="ab\"'`#/*\\\n -{}[]()<!>%;r", max_size=60))
def test_nothing_of_a_text_is_lost(language: str, text: str) -> None:
    assert "".join(piece.text for piece in divide(text, language)) == text
    found = measure_code("a", language, text)
    assert has_syntax(language) == (found.code_score is not None)
    for value in (found.comment_fraction, found.literal_fraction, found.one_letter_fraction, found.code_score):
        assert value is None or 0 <= value <= 1


def without_comments(text: str) -> str:
    return "".join(piece.text for piece in divide(text, "python") if piece.kind != "comment")


def with_short_names(text: str) -> str:
    """The same program with one letter for every name that is not Python's own."""
    tokens = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        rename = token.type == tokenize.NAME and not keyword.iskeyword(token.string)
        tokens.append((token.type, token.string[0] if rename else token.string))
    return tokenize.untokenize(tokens)


def test_what_makes_code_worse_lowers_its_score() -> None:
    compared = 0
    for path in HANDWRITTEN:
        text = path.read_text(encoding="utf-8")
        whole = measure_code(path.name, "python", text)
        assert whole.code_score is not None
        assert whole.comment_fraction is not None
        table = "\n".join(f"    {number * 7919 % 10007}, 'value {number}'," for number in range(len(text) // 20))
        for worse in (with_short_names(text), text + f"\nTABLE = [\n{table}\n]\n", text * 3):
            score = measure_code(path.name, "python", worse).code_score
            assert score is not None
            assert score <= whole.code_score or len(text) < 2000, path
        if 0.05 < whole.comment_fraction < 0.7:
            bare = measure_code(path.name, "python", without_comments(text)).code_score
            assert bare is not None
            assert bare < whole.code_score, path
            compared += 1
    assert compared > 20


def test_written_code_scores_above_data() -> None:
    written = [measured(path).code_score for path in HANDWRITTEN if path.stat().st_size > 3000]
    tables = [path for path in sorted(STDLIB.glob("encodings/cp*.py")) if path.stat().st_size > 5000]
    data = [measured(path).code_score for path in tables]
    assert len(data) > 20
    assert max(score or 0 for score in data) < np.quantile([score or 0 for score in written], 0.2)
    topics = measured(STDLIB / "pydoc_data" / "topics.py")
    assert topics.generated == 1
    assert topics.literal_fraction is not None
    assert topics.literal_fraction > 0.9


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a/b_pb2.py", "import x\n"),
        ("api.pb.go", "package api\n"),
        ("x.c", "/* Generated by Cython 3.0.10 */\n"),
        ("y.go", '// Code generated by "stringer -type=Pill"; DO NOT EDIT.\npackage y\n'),
        ("z.java", "/**\n * Autogenerated by Thrift Compiler (0.19.0)\n *\n * DO NOT EDIT\n */\n"),
        ("p.c", "/* A Bison parser, made by GNU Bison 3.8.2.  */\n"),
        ("k.py", "# This file was automatically generated by SWIG\n"),
        ("q.js", "// @generated by protobuf-ts\n"),
        ("r.h", "/* This file is generated. */\n"),
    ],
)
def test_generated_files(path: str, text: str) -> None:
    assert is_generated(path, text)


def test_written_files_are_not_generated() -> None:
    found = [path.name for path in HANDWRITTEN if is_generated(path.name, path.read_text(encoding="utf-8"))]
    assert found == []
    assert not is_generated("generator.py", '"""Makes code: the file is written with a header."""\n')
    assert not is_generated("late.py", "x = 1\n" * 500 + "# automatically generated by hand\n")


def test_minified_files() -> None:
    folder = PACKAGES / "torch" / "utils" / "model_dump"
    assert measured(folder / "preact.mjs", "javascript").minified == 1
    assert measured(folder / "htm.mjs", "javascript").minified == 1
    assert measured(folder / "code.js", "javascript").minified == 0
    assert measure_code("jquery.min.js", "javascript", "x\n").minified == 1
    assert measure_code("long.py", "python", f"x = {'1 + ' * 500}1\n").minified == 0


def test_languages_that_share_an_ending_are_told_by_the_text() -> None:
    for path in sorted((PACKAGES / "pybind11" / "include").rglob("*.h")):
        text = path.read_text(encoding="utf-8")
        assert detect_language(path.name, "c", text) == "c++" or "class" not in text, path
    python = Path(sysconfig.get_path("include"))
    for path in sorted((PACKAGES / "numpy" / "_core" / "include").rglob("*.h")) + sorted(python.glob("*.h")):
        assert detect_language(path.name, "c", path.read_text(encoding="utf-8")) == "c", path
    assert detect_language("a.m", "matlab", "#import <Foundation/Foundation.h>\n@interface A\n@end\n") == "objective-c"
    assert detect_language("a.m", "matlab", "function y = f(x)\ny = x;\nend\n") == "matlab"
    assert detect_language("a.pl", "perl", "parent(X, Y) :-\n  child(Y, X).\n") == "prolog"
    assert detect_language("a.py", "python", "#!/bin/sh\n") == "python"
    assert detect_language("run", "unknown", "#!/usr/bin/env -S python3 -u\nx\n") == "python"
    assert detect_language("run", "unknown", "#! /bin/bash\n") == "bash"
    assert detect_language("run", "unknown", "no script\n") == "unknown"


def test_go_modules_have_a_language() -> None:
    assert programming_language("go.mod") == "go-module"


def documents(*rows: tuple[str, str, int]) -> pa.Table:
    kind, language, size = zip(*rows, strict=True)
    return pa.table({"kind": kind, "language": language, "bytes": size})


def test_classes() -> None:
    table = documents(
        ("code", "python", 600), ("code", "python", 300), ("code", "python", 90), ("code", "zig", 9),
        ("code", "zig", 1), ("code", "markdown", 5), ("text", "en", 10_000),
    )  # fmt: skip
    score = np.array([0.9, 0.5, 0.1, 0.1, 0.9, np.nan, 0.9])
    passed = np.ones(7, dtype=bool)
    config = CodeConfig(high=0.8, low=0.2, rare=0.01)
    expected = [HIGH, MODERATE, LOW, MODERATE, HIGH, MODERATE, ""]
    assert quality_classes(table, score, passed, config).tolist() == expected
    # zig is 10 of 1,005 bytes, and 10 of 405 without the largest file
    assert quality_classes(table, score, np.arange(7) > 0, config).tolist() == [*expected[:3], LOW, *expected[4:]]
    with pytest.raises(RecipeError, match="low ≤ high"):
        configure([{"name": "a", "path": "a"}], code={"low": 0.9})


@pytest.fixture(scope="session")
def classified(tmp_path_factory: pytest.TempPathFactory) -> tuple[CorpusSummary, CorpusConfig, Path]:
    """Real code in which a language is rare."""
    root = tmp_path_factory.mktemp("classified")
    for path in [*HANDWRITTEN[:40], *sorted(STDLIB.glob("encodings/*.py"))[:30]]:
        (root / "code").mkdir(exist_ok=True)
        (root / "code" / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    (root / "code" / "scale.lua").write_text("x=1;y=2;z=3;a=4;b=5;c=6;d=7;e=8;f=9;g=10\nreturn x+y+z+a+b+c+d+e+f+g\n")
    (root / "code" / "script.h").write_text("template <class T>\nT twice(T value) { return value + value; }\n" * 2)
    config = configure(
        [{"name": "code", "path": "code", "kind": "code"}], tokenizer={"vocab_size": 512}, split={"held_out": 0.1}
    )
    return build_corpus(config, root / "out", base=root), config, root


def decided(out: Path) -> dict[str, dict[str, object]]:
    names = [path.name for path in sorted((out / "decisions").glob("*.parquet"))]
    return {
        measured["path"]: measured | decision
        for name in names
        for measured, decision in zip(
            read_table(out / "measurements" / name).to_pylist(),
            read_table(out / "decisions" / name).to_pylist(),
            strict=True,
        )
    }


def test_classes_decide_what_is_read_how_often(classified: tuple[CorpusSummary, CorpusConfig, Path]) -> None:
    summary, config, _ = classified
    rows = decided(summary.out)
    for path, row in rows.items():
        score = row["code_score"]
        assert isinstance(score, float)
        if row["rule"] == "code.low":
            assert (row["value"], row["threshold"]) == (score, config.code.low)
            assert score < config.code.low
        if row["kept"]:
            assert score >= config.code.low or path in ("scale.lua", "script.h")
            assert row["repeats"] == (2 if score >= config.code.high else 1)
    for rare in ("scale.lua", "script.h"):
        assert (rows[rare]["quality"], rows[rare]["kept"]) == ("moderate", True)
    assert rows["script.h"]["language"] == "c++"
    assert {row["repeats"] for row in rows.values()} == {0, 1, 2}
    assert summary.manifest["totals"]["dropped"]["code.low"] > 0
    page = (summary.out / "report.html").read_text()
    assert "Shares of the bytes that passed the rules" in page
    assert "code.low" in page


def test_other_classes_are_decided_without_reading(
    classified: tuple[CorpusSummary, CorpusConfig, Path], tmp_path: Path
) -> None:
    summary, config, root = classified
    other = CorpusConfig(**{**dict(config), "code": CodeConfig(low=0.5, high=0.6, high_repeats=3, rare=0)})
    fresh = build_corpus(other, tmp_path / "fresh", base=root)
    before = decided(summary.out)
    copied = build_corpus(config, tmp_path / "out", base=root)
    change = redecide(copied.out, overrides=["code.low=0.5", "code.high=0.6", "code.high_repeats=3", "code.rare=0.0"])
    assert change.newly_dropped > 0
    assert decided(copied.out) == decided(fresh.out) != before
    with pytest.raises(DataError, match=r"code\.score: expected a measurement 'fluency'"):
        redecide(copied.out, overrides=['code.score="fluency"'])


def test_explain_says_the_class(classified: tuple[CorpusSummary, CorpusConfig, Path]) -> None:
    summary, _, _ = classified
    row = next(row for row in decided(summary.out).values() if row["repeats"] == 2 and row["split"] == "train")
    found = explain_document(summary.out, str(row["id"]))
    assert (found.quality, found.repeats, found.packed) == ("high", 2, None)
    assert len(found.tokens) == 2


def test_the_defaults_are_those_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "corpus.md").read_text(encoding="utf-8")
    section = page.partition("\n## Code\n")[2].partition("\n## ")[0]
    recipe = tomllib.loads("\n".join(re.findall(r"```toml\n(.*?)```", section, re.DOTALL)))
    (source,) = recipe.pop("sources")
    assert configure([source], **recipe) == configure([source])
