"""Imports found by the parsers, against Python's own parser, and in the ways that each language writes them."""

import ast
import sysconfig
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castline.corpus.code.imports import c, find_imports, go, java, javascript, python, rust
from castline.corpus.code.imports.files import CodeFile

STDLIB = Path(sysconfig.get_path("stdlib"))


def links(language: str, files: dict[str, str], **others: str) -> dict[str, set[str]]:
    """What each file imports, where it imports anything."""
    repository = [CodeFile(path, others.get(path.rpartition(".")[2], language), text) for path, text in files.items()]
    return {path: found for path, found in find_imports(repository).all.items() if found}


def parsed_by_python(text: str) -> set[tuple[int, str, tuple[str, ...]]]:
    found: set[tuple[int, str, tuple[str, ...]]] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {(0, alias.name, ()) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.level, node.module or "", tuple(alias.name for alias in node.names)))
    return found


def test_python_imports_are_those_that_python_sees() -> None:
    read = 0
    for path in sorted(STDLIB.glob("[a-j]*.py")) + sorted(STDLIB.glob("[em]*/*.py")):
        try:
            text = path.read_text(encoding="utf-8")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = parsed_by_python(text)
        except (SyntaxError, UnicodeDecodeError):
            continue
        found = {(level, module, tuple(names)) for level, module, names, _ in python.parse_imports(text)}
        assert found == expected, path
        read += len(expected)
    assert read > 500


def test_python_without_valid_syntax_is_read_too() -> None:
    text = "print 'a'\nimport os, sys as system\nexec 'import no'\nfrom . import (a,  # b\n  c as d)\n"
    text += "from x import *; import y\n"
    assert [(s.level, s.module, s.names) for s in python.parse_imports(text)] == [
        (0, "os", []),
        (0, "sys", []),
        (1, "", ["a", "c"]),
        (0, "x", ["*"]),
        (0, "y", []),
    ]


def test_python_names_lead_to_files() -> None:
    files = {
        "pkg/src/lib/__init__.py": "from .core import run\nfrom lib import extra\n",
        "pkg/src/lib/core.py": "import json, lib.deep.leaf\nfrom .deep import leaf as other\n",
        "pkg/src/lib/extra.py": "from . import core, missing\nimport types\n",
        "pkg/src/lib/types.py": "",
        "pkg/src/lib/deep/__init__.py": "",
        "pkg/src/lib/deep/leaf.py": "from ..core import run\nfrom ....outside import x\n",
        "pkg/tests/test_core.py": "from lib.core import run\nimport helpers\nif True:\n    import lib\n",
        "pkg/tests/helpers.py": "import requests\n",
        "other/helpers.py": "",
    }
    lib = "pkg/src/lib"
    assert links("python", files) == {
        f"{lib}/__init__.py": {f"{lib}/core.py", f"{lib}/extra.py"},
        f"{lib}/core.py": {f"{lib}/deep/leaf.py"},
        f"{lib}/extra.py": {f"{lib}/core.py", f"{lib}/__init__.py"},  # lib.types is not `types`
        f"{lib}/deep/leaf.py": {f"{lib}/core.py"},
        "pkg/tests/test_core.py": {f"{lib}/core.py", f"{lib}/__init__.py", "pkg/tests/helpers.py"},
    }
    repository = [CodeFile(path, "python", text) for path, text in files.items()]
    assert f"{lib}/__init__.py" not in find_imports(repository).firm["pkg/tests/test_core.py"]


def test_c_includes() -> None:
    text = """#include "a.h"  // #include "no.h"
/*
#include "no.h" */
  #  include <dir/b.h>
const char *s = "\\n#include \\"no.h\\""; auto r = R"x(
#include "no.h"
)x";
 # include /* why */ "c.h"
#ifdef X
#import "d.h"
#endif
#include MACRO
"""
    assert list(c.parse_includes(text)) == [("a.h", True), ("dir/b.h", False), ("c.h", True), ("d.h", True)]
    files = {
        "src/main.cpp": '#include "util.hpp"\n#include <lib/api.h>\n#include <string.h>\n#include "../inc/top.h"\n',
        "src/util.hpp": '#include "lib/api.h"\n',
        "test/util.hpp": "",
        "include/lib/api.h": "#include <flat.h>\n",
        "include/flat.h": "",
        "compat/string.h": "",
        "inc/top.h": '#include "top.h"\n',
    }
    assert links("c++", files, h="c") == {
        "src/main.cpp": {"src/util.hpp", "include/lib/api.h", "inc/top.h"},
        "src/util.hpp": {"include/lib/api.h"},
        "include/lib/api.h": {"include/flat.h"},
    }


def test_javascript_and_typescript_imports() -> None:
    text = """// import "no"
import React, { useState } from 'react';
import './side.css'
import {
  a, // from "no"
  b,
} from "./ab.js";
export * from '../all';
const x = require("./x"), y = await import('./y');
const s = `import "no" ${"from 'no'"}`; const r = /"/.test(s) || s.match(/['`]/);
object.require("no"); Array.from("no"); const t = "import 'no'";
import type { T } from "./t"
"""
    assert list(javascript.parse_imports(text)) == [
        "react",
        "./side.css",
        "./ab.js",
        "../all",
        "./x",
        "./y",
        "./t",
    ]
    files = {
        "app/index.ts": "import { a } from './lib';\nexport { b } from './b.js';\nimport c from './c';\n",
        "app/lib/index.ts": "import b from '../b';\nimport self from '.';\n",
        "app/b.ts": "const c = require('../app/c.mjs');\n",
        "app/c.mjs": "import '../../outside.js';\n",
        "app/c.vue": "",
    }
    assert links("typescript", files, mjs="javascript", vue="vue") == {
        "app/index.ts": {"app/lib/index.ts", "app/b.ts", "app/c.mjs"},
        "app/lib/index.ts": {"app/b.ts"},
        "app/b.ts": {"app/c.mjs"},
    }


def test_go_imports_are_packages() -> None:
    text = """// Package main
/* import "no" */
package main

import "fmt"
import (
	"os" // "no"
	. "example.com/mod/internal/a"
	_ `example.com/mod/b`
)

var s = "import \\"no\\""
"""
    assert list(go.parse_imports(text)) == ["fmt", "os", "example.com/mod/internal/a", "example.com/mod/b"]
    files = {
        "cmd/main.go": text,
        "internal/a/one.go": 'package a\nimport "example.com/mod"\n',
        "internal/a/two.go": "package a\n",
        "internal/a/two_test.go": 'package a_test\nimport "example.com/mod/internal/a"\nimport "example.com/mod/b"\n',
        "b/b.go": "package b\n",
        "root.go": "package mod\n",
        "fmt/fmt.go": "package fmt\n",
    }
    expected = {
        "cmd/main.go": {"internal/a/one.go", "internal/a/two.go", "b/b.go"},
        "internal/a/two_test.go": {"b/b.go"},  # its own package is no import
    }
    assert links("go", files) == expected
    declared = {**files, "go.mod": "module example.com/mod\n\ngo 1.22\n"}
    assert links("go", declared, mod="go-module") == {**expected, "internal/a/one.go": {"root.go"}}


def test_java_imports() -> None:
    text = """/* import no.No; */ package org.app; // import no.No;
import java.util.List;
import static org.app.util.Maths.add;
import org.app.model.*;
@Deprecated public class Main { String s = "import no.No;"; }
import no.No;
"""
    names = ["java.util.List", "org.app.util.Maths.add", "org.app.model.*"]
    assert java.parse_imports(text) == ("org.app", names)
    files = {
        "src/main/java/org/app/Main.java": text,
        "src/main/java/org/app/util/Maths.java": "package org.app.util;\nimport org.app.Main.Inner;\n",
        "src/main/java/org/app/model/One.java": "package org.app.model;\n",
        "src/main/java/org/app/model/Two.java": "package org.app.model;\nimport org.app.model.One;\n",
        "List.java": "class List {}\n",
    }
    root = "src/main/java/org/app"
    assert links("java", files) == {
        f"{root}/Main.java": {f"{root}/util/Maths.java", f"{root}/model/One.java", f"{root}/model/Two.java"},
        f"{root}/util/Maths.java": {f"{root}/Main.java"},
        f"{root}/model/Two.java": {f"{root}/model/One.java"},
    }


def test_rust_modules_and_paths() -> None:
    text = """// mod no;
pub mod a;
use crate::a::{self, b::C, d as e};
mod inline { use super::a; mod deep; }
const S: &str = r#"mod no; "quoted" "#;
fn f<'a>(c: char) -> bool { c == '"' || c == '\\'' }
#[path = "elsewhere.rs"] mod other;
use std::io::*;
"""
    assert [(r.inside, r.path, r.declares) for r in rust.parse_references(text)] == [
        ((), ("a",), True),
        ((), ("crate", "a", "self"), False),
        ((), ("crate", "a", "b", "C"), False),
        ((), ("crate", "a", "d"), False),
        (("inline",), ("super", "a"), False),
        (("inline",), ("deep",), True),
        ((), ("other",), True),
        ((), ("std", "io"), False),
    ]
    files = {
        "core/src/lib.rs": text,
        "core/src/a.rs": "pub mod b;\nuse super::inline;\nuse self::b::C;\n",
        "core/src/a/b.rs": "use super::super::other::X;\n#[cfg(test)] mod tests { use super::*; }\n",
        "core/src/inline/deep/mod.rs": "use crate::a::b::C;\n",
        "core/src/elsewhere.rs": "",
        "core/tests/all.rs": "mod common;\nuse my_core::a::b::C;\n",
        "core/tests/common/mod.rs": "use my_core;\n",
        "core/Cargo.toml": '[package]\nversion = "1"\nname = "my-core"\n',
        "app/src/main.rs": "mod a;\nuse my_core::a;\n",
        "app/src/a.rs": "use crate::run;\n",
    }
    src = "core/src"
    assert links("rust", files, toml="toml") == {
        f"{src}/lib.rs": {f"{src}/a.rs", f"{src}/a/b.rs", f"{src}/inline/deep/mod.rs", f"{src}/elsewhere.rs"},
        f"{src}/a.rs": {f"{src}/a/b.rs", f"{src}/lib.rs"},
        f"{src}/a/b.rs": {f"{src}/lib.rs"},
        f"{src}/inline/deep/mod.rs": {f"{src}/a/b.rs"},
        "core/tests/all.rs": {"core/tests/common/mod.rs", f"{src}/a/b.rs"},
        "core/tests/common/mod.rs": {f"{src}/lib.rs"},
        "app/src/main.rs": {"app/src/a.rs", f"{src}/a.rs"},
        "app/src/a.rs": {"app/src/main.rs"},
    }


def test_rust_crates_go_by_the_names_that_cargo_knows() -> None:
    """As in tokenizers, whose bindings depend on a library of their own name, and tokio's tests."""
    files = {
        "Cargo.toml": '[workspace]\n[workspace.dependencies]\nhelp = { path = "help" }\n'
        '[package]\nauthors = ["a", "b"]\nname = "bindings"\n[lib]\nname = "words"\n'
        "[dependencies]\nhelp.workspace = true\n"
        '[dependencies.words]\npath = "./words-lib"\n[target."cfg(unix)".dependencies]\nx = {path = "gone"}\n',
        "src/lib.rs": "extern crate words as w;\nextern crate log;\nmod a;\n",
        "src/a.rs": "use w::model::Model;\nuse help as h;\nuse h::tools::T;\nuse log;\nuse ::help;\n",
        "words-lib/Cargo.toml": '[package]\nauthors = ["a [b]"]\nname = "words-core"\n[lib]\nname = "words"\n',
        "words-lib/src/lib.rs": "pub mod model;\nmod log;\nextern crate log;\n",
        "words-lib/src/model.rs": "",
        "words-lib/src/log.rs": "",
        "words-lib/tests/all.rs": "mod support { pub mod panic; }\nuse support::panic::stop;\nuse words::model;\n",
        "words-lib/tests/support/panic.rs": "",
        "help/Cargo.toml": '[package]\nname = "helpers"\nbroken = \n',
        "help/src/lib.rs": "mod tools;\n#[cfg(test)]\nmod tests { use crate::tools; }\n",
        "help/src/tools.rs": "use crate::X;\n",
    }
    assert links("rust", files, toml="toml") == {
        "src/lib.rs": {"words-lib/src/lib.rs", "src/a.rs"},
        "src/a.rs": {"words-lib/src/model.rs", "help/src/lib.rs", "help/src/tools.rs"},
        "words-lib/src/lib.rs": {"words-lib/src/model.rs", "words-lib/src/log.rs"},
        "words-lib/tests/all.rs": {"words-lib/tests/support/panic.rs", "words-lib/src/model.rs"},
        "help/src/lib.rs": {"help/src/tools.rs"},
        "help/src/tools.rs": {"help/src/lib.rs"},
    }
    others = {"rs": "rust", "toml": "toml"}
    firm = find_imports([CodeFile(path, others[path.rpartition(".")[2]], text) for path, text in files.items()]).firm
    assert firm["help/src/lib.rs"] == set(), "what declares a module, and what tests use, can wait"
    assert firm["help/src/tools.rs"] == {"help/src/lib.rs"}


PIECES = st.sampled_from(
    [
        *"\"'`/\\(){};#\n",
        "import ",
        "from ",
        "use ",
        "mod ",
        "#include ",
        "require(",
        "package ",
        "/*",
        "*/",
        '"""',
        'r#"',
        "é",
        "a.b",
        "::{",
    ]
)


@given(
    text=st.lists(PIECES, max_size=40).map("".join),
    language=st.sampled_from(["c", "go", "java", "javascript", "python", "rust"]),
)
def test_no_text_is_too_broken(text: str, language: str) -> None:
    files = [CodeFile("a/x", language, text), CodeFile("a/b", language, text), CodeFile("b", language, "")]
    graph = find_imports(files)
    assert set(graph.all) == set(graph.firm) == {"a/x", "a/b", "b"}
    for path in graph.all:
        assert graph.firm[path] <= graph.all[path] <= set(graph.all) - {path}


@pytest.mark.parametrize("language", ["c", "go", "java", "javascript", "python", "rust"])
def test_hostile_texts_take_linear_time(language: str) -> None:
    """What opens and is never closed, many times over: quadratic scanning would not end."""
    for piece in ('"""a', "/*", "`", "'''", 'R"(', 'r#"', "import (", "use a::{", "(/[", "from "):
        find_imports([CodeFile("a", language, piece * 3_000)])


def test_typescript_names_declarations_by_their_source() -> None:
    files = {"a.d.ts": 'import type { T } from "./types.ts";\n', "types.d.ts": "export type T = 1;\n"}
    assert links("typescript", files) == {"a.d.ts": {"types.d.ts"}}
