"""Chat templates: what C++ renders is what jinja2 renders in transformers' sandbox."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.utils.chat_template_utils import _compile_jinja_template

from castline import _C
from castline.compile.build import build_package
from castline.compile.chat import Chat
from castline.compile.chat_template import compile_chat_template
from castline.compile.config import CompileConfig
from castline.compile.pack import pack
from castline.errors import CompileError, DataError

from .conftest import random_llama, write_tokenizer

FOLDER = Path(__file__).with_name("templates")
# In the manner of the families of templates that checkpoints carry, with what each of them is hard for.
TEMPLATES = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.jinja"))}

# Unassigned characters are left out: which ones those are depends on Python's version.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=12) | st.sampled_from(
    ["  padded \n", "a</think>b\n", "'\"\\", "<|im_end|>", "Straße ÀÉ 你好 🙂"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
CALLS = st.lists(
    st.fixed_dictionaries(
        {"function": st.fixed_dictionaries({"name": TEXT, "arguments": st.dictionaries(TEXT, JSON, max_size=3) | TEXT})}
    ),
    max_size=4,
)
PARTS = st.lists(st.fixed_dictionaries({"type": st.sampled_from(["text", "image"]), "text": TEXT}), max_size=3)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": TEXT | PARTS | st.none()},
    optional={"tool_calls": CALLS},
)
TOOL = st.fixed_dictionaries(
    {
        "function": st.fixed_dictionaries(
            {
                "name": TEXT,
                "parameters": st.fixed_dictionaries(
                    {
                        "properties": st.dictionaries(
                            TEXT,
                            st.fixed_dictionaries(
                                {"type": st.sampled_from(["string", "integer"]) | st.lists(st.just("null"), max_size=2)}
                            ),
                            max_size=3,
                        )
                    },
                    optional={"required": st.lists(TEXT, max_size=2)},
                ),
            },
            optional={"description": TEXT},
        )
    }
)


def compiled(source: str) -> _C.ChatTemplate:
    return _C.ChatTemplate(json.dumps(compile_chat_template(source, "here")))


def rendered(source: str, **context: Any) -> str:
    return compiled(source).render(json.dumps(context))


def expected(source: str, **context: Any) -> str:
    text: str = _compile_jinja_template(source).render(**context)
    return text


@pytest.mark.parametrize("name", TEMPLATES)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_conversations_read_as_jinja2_renders_them(name: str, data: st.DataObject) -> None:
    source = TEMPLATES[name]
    context: dict[str, Any] = {
        "messages": data.draw(st.lists(MESSAGE, max_size=4)),
        "add_generation_prompt": data.draw(st.booleans()),
        "bos_token": "<s>",
        "eos_token": "</s>",
    }
    if data.draw(st.booleans()):
        context["tools"] = data.draw(st.lists(TOOL, max_size=2) | st.none())
    try:
        wanted = expected(source, **context)
    except (jinja2.exceptions.TemplateError, TypeError, AttributeError):
        with pytest.raises(ValueError, match="chat template"):
            rendered(source, **context)
        return
    assert rendered(source, **context) == wanted


@pytest.mark.parametrize("x", ["A man, a plan. ", "", "élan\nvital\n\nÉTÉ", "  spaced  out\t", "你好 ab"])
def test_expressions_mean_what_python_means(x: str) -> None:
    people = [{"name": "Bo", "age": 30}, {"name": "Al", "age": 9}, {"name": "Cy", "age": 0}]
    context = {"x": x or " ", "numbers": [3, 1, 2, 3], "people": people}
    for line in (FOLDER / "expressions.txt").read_text().splitlines():
        assert rendered(line, **context) == expected(line, **context), line


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("a\n{{ x | wordwrap }}", r"here, line 2: .* uses the filter 'wordwrap' \(there are abs, "),
        ("{{ x is filter }}", "the test 'filter'"),
        ("{% include 'other' %}", "the statement Include"),
        ("{% set y = x | safe %}{{ y + '<' }}", "the filter 'safe' on 'y', which is more than printed"),
        ("{% for a in b recursive %}{% endfor %}", "the statement For"),
        ("\n\n{% if %}", "here, line 3: expected a Jinja template, but Expected an expression"),
        ("{{ loop.changed(1) }}", r"loop\.changed"),
        ("{{ f(*a) }}", "the expression Call"),
    ],
)
def test_what_cpp_cannot_render_is_refused_by_line_and_name(source: str, message: str) -> None:
    with pytest.raises(CompileError, match=message):
        compile_chat_template(source, "here")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ raise_exception('No such role: ' ~ x) }}", r"\[chat template\] No such role: X"),
        ("{{ y.z }}", "'y' is undefined, so it has no 'z'"),
        ("{{ x + 1 }}", "a string and an integer"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "at most 200 .* inside each other"),
        ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{{ a }}{% endfor %}", "went on and on"),
        ("{{ 'x' * 9999999999 }}", "shorter text"),
        ("{{ x.split('') }}", "separator, but got an empty one"),
        ("{{ 1 // 0 }}", "divisor other than 0"),
        ("{{ range(0, 9999999) | list }}", "at most 100000 numbers"),
    ],
)
def test_a_template_that_fails_says_why(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rendered(source, x="X")


def test_the_time_is_asked_for_when_rendering() -> None:
    program = json.dumps(compile_chat_template("{{ strftime_now('%Y') }}", "here"))
    assert _C.ChatTemplate(program).render("{}", now=86400 * 365 * 10) == "1979"


@settings(deadline=None)
@given(st.data())
def test_a_damaged_program_is_refused(data: st.DataObject) -> None:
    program = json.dumps(compile_chat_template(TEMPLATES["tools"], "here"))
    start = data.draw(st.integers(0, len(program) - 1))
    end = data.draw(st.integers(start + 1, min(start + 40, len(program))))
    damaged = program[:start] + data.draw(st.sampled_from(["", "null", "[]", '"x"', "7"])) + program[end:]
    context = json.dumps({"messages": [{"role": "user", "content": "x"}]})
    with contextlib.suppress(DataError, ValueError):  # anything else, a crash above all, is the failure
        assert _C.ChatTemplate(damaged).render(context) is not None


def test_a_package_renders_what_its_checkpoint_would(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    random_llama(checkpoint)
    write_tokenizer(checkpoint)
    config = {"chat_template": TEMPLATES["alternating"], "bos_token": {"content": "<s>"}, "eos_token": "</s>"}
    (checkpoint / "tokenizer_config.json").write_text(json.dumps(config))
    package = build_package(checkpoint, tmp_path / "package", CompileConfig(targets=("cpu",), verify_tokens=64))
    assert package.manifest.chat_template == "chat_template.json"
    chat = Chat(tmp_path / "package")
    pack(tmp_path / "package", tmp_path / "package.castline")
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    wanted = expected(
        TEMPLATES["alternating"], messages=messages, bos_token="<s>", eos_token="</s>", add_generation_prompt=True
    )
    assert chat.render(messages) == wanted
    assert Chat(tmp_path / "package.castline").prompt_ids(messages) == chat.prompt_ids(messages)
    assert bytes(_C.Tokenizer(checkpoint / "tokenizer.json").decode(chat.prompt_ids(messages))).decode() == wanted
    with pytest.raises(DataError, match="Roles must alternate"):
        chat.render(messages[1:])

    # Two questions, each answered greedily: the second prompt holds the first answer.
    command = [sys.executable, "-c", "from castline.cli.main import main; main()", "chat", tmp_path / "package"]
    lines = "hi\n\n/reset\nhi\nho\n/exit\nnever read\n"
    done = subprocess.run([*command, "--max-tokens", "4"], input=lines.encode(), capture_output=True, check=True)
    engine = _C.Engine(tmp_path / "package")
    conversation = [{"role": "user", "content": "hi"}]
    first = engine.generate(chat.prompt_ids(conversation), max_tokens=4).text
    conversation += [{"role": "assistant", "content": first}, {"role": "user", "content": "ho"}]
    second = engine.generate(chat.prompt_ids(conversation), max_tokens=4).text
    assert done.stdout.decode() == f"{first}\n{first}\n{second}\n"


def test_a_package_without_a_template_says_so(tmp_path: Path) -> None:
    random_llama(tmp_path / "checkpoint")
    write_tokenizer(tmp_path / "checkpoint")
    build_package(tmp_path / "checkpoint", tmp_path / "package", CompileConfig(targets=("cpu",), verify_tokens=64))
    with pytest.raises(DataError, match="has no chat template"):
        Chat(tmp_path / "package")
