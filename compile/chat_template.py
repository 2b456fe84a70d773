"""A checkpoint's chat template, compiled from Jinja into a program that the C++ runtime renders.

Checkpoints carry their templates as Jinja source, written for transformers' sandbox: blocks trimmed, `tojson`
without escapes, `raise_exception`, `strftime_now`, `{% break %}`, `{% generation %}`. jinja2 itself parses the
source here; what it makes of it is written as JSON, every node an array that begins with its name:

    statements   [text, "…"] [print, e] [if, e, body, else] [for, target, e, filter, body, else] [break] [continue]
                 [set, target, e] [capture, target, body] [macro, name, parameters, defaults, body]
                 [with, [[target, e], …], body] [block, body]
    targets      [name, n] [field, n, attribute] [tuple, targets]
    expressions  [const, value] [name, n] [attr, e, name] [item, e, e] [slice, e, start, stop, step]
                 [call, e, arguments, {keyword: e}] [filter, name, e, arguments, {keyword: e}]
                 [test, name, e, arguments] [choose, condition, e, e] [compare, e, [[op, e], …]] [and, e, e]
                 [or, e, e] [not, e] [neg, e] [add | sub | mul | div | floordiv | mod | pow, e, e] [concat, [e, …]]
                 [list, [e, …]] [tuple, [e, …]] [dict, [[e, e], …]]

Absent parts are null. The reader is csrc/chat/program.hpp, which knows the same filters, tests and functions as
`FILTERS` and `TESTS` here, and the functions dict, namespace, raise_exception, range and strftime_now.
"""

from typing import Any

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser

from castline.errors import CompileError

Program = dict[str, Any]

FORMAT = 1

FILTERS = frozenset(
    """abs capitalize count d default dictsort first float indent int items join last length list lower map max min
    reject rejectattr replace reverse select selectattr sort string sum title tojson trim unique upper""".split()  # noqa: SIM905
)
TESTS = frozenset(
    """boolean callable defined divisibleby eq equalto even false float ge gt in integer iterable le lower lt mapping
    ne none number odd sameas sequence string true undefined upper""".split()  # noqa: SIM905
)

_TEST_NAMES = {
    "==": "eq",
    "!=": "ne",
    ">": "gt",
    ">=": "ge",
    "<": "lt",
    "<=": "le",
    "greaterthan": "gt",
    "lessthan": "lt",
}
_UNKNOWN_NAMES = frozenset(("caller", "cycler", "joiner", "kwargs", "lipsum", "self", "varargs"))
_LOOP_FIELDS = frozenset(
    ("index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem", "depth", "depth0")
)


def compile_chat_template(source: str, where: str) -> Program:
    """Compile a template.

    Args:
        source: Jinja, as in tokenizer_config.json
        where: what it is, for messages

    Raises:
        CompileError: it is not valid Jinja, or uses something that the runtime has no like of; the message has
            the line and the construct.
    """
    environment = Environment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation])
    try:
        template = environment.parse(source)
    except TemplateSyntaxError as error:
        raise CompileError(f"{where}, line {error.lineno}: expected a Jinja template, but {error.message}") from None
    compiler = _Compiler(where)
    body = compiler.body(template.body)
    compiler.check_safe_names()
    return {"format": FORMAT, "body": body}


class _Generation(Extension):
    """`{% generation %}` marks what an assistant said; rendering has no use for the mark."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _Compiler:
    """Turns jinja2's nodes into the arrays described above.

    Nothing is escaped, so `safe` changes nothing about a value that is printed; one that is added to another is
    refused. An expression is `printed` when nothing happens to its value that could tell the two apart.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.safe_names: dict[str, nodes.Node] = {}
        self.used_names: set[str] = set()

    def check_safe_names(self) -> None:
        """Refuse a template that does more with a variable that holds something safe than print it."""
        for name in sorted(self.safe_names.keys() & self.used_names):
            raise self.error(self.safe_names[name], f"the filter 'safe' on '{name}', which is more than printed")

    def body(self, statements: list[nodes.Node]) -> list[Any]:
        return [one for statement in statements for one in self.statement(statement)]

    def statement(self, node: nodes.Node) -> list[Any]:
        """The statements that one of jinja2's becomes."""
        match node:
            case nodes.Output():
                return [self.output(part) for part in node.nodes]
            case nodes.If():
                other = node.else_
                for branch in reversed(node.elif_):
                    other = [nodes.If(branch.test, branch.body, [], other, lineno=branch.lineno)]
                return [["if", self.expression(node.test, printed=True), self.body(node.body), self.body(other)]]
            case nodes.For() if not node.recursive:
                test = self.expression(node.test) if node.test else None
                iterable, target = self.expression(node.iter), self.target(node.target)
                return [["for", target, iterable, test, self.body(node.body), self.body(node.else_)]]
            case nodes.Assign():
                if isinstance(node.target, nodes.Name) and _holds_safe(node.node):
                    self.safe_names[node.target.name] = node
                    return [["set", self.target(node.target), self.expression(node.node, printed=True)]]
                return [["set", self.target(node.target), self.expression(node.node)]]
            case nodes.AssignBlock() if node.filter is None:
                return [["capture", self.target(node.target), self.body(node.body)]]
            case nodes.Macro():
                return [["macro", node.name, *self.parameters(node), self.body(node.body)]]
            case nodes.With():
                pairs = zip(node.targets, node.values, strict=True)
                bound = [[self.target(target), self.expression(value)] for target, value in pairs]
                return [["with", bound, self.body(node.body)]]
            case nodes.Scope():
                return [["block", self.body(node.body)]]
            case nodes.Break():
                return [["break"]]
            case nodes.Continue():
                return [["continue"]]
            case _:
                raise self.error(node, f"the statement {type(node).__name__}")

    def output(self, node: nodes.Expr) -> Any:
        if isinstance(node, nodes.TemplateData):
            return ["text", node.data]
        return ["print", self.expression(node, printed=True)]

    def parameters(self, node: nodes.Macro) -> tuple[list[str], list[Any]]:
        return [argument.name for argument in node.args], [self.expression(value) for value in node.defaults]

    def target(self, node: nodes.Node) -> Any:
        match node:
            case nodes.Name():
                return ["name", node.name]
            case nodes.NSRef():
                return ["field", node.name, node.attr]
            case nodes.Tuple():
                return ["tuple", [self.target(item) for item in node.items]]
            case _:
                raise self.error(node, "an assignment to something other than a name")

    def expression(self, node: nodes.Node, *, printed: bool = False) -> Any:
        """One expression."""
        expression = self.expression
        match node:
            case nodes.Const():
                return ["const", node.value]
            case nodes.TemplateData():
                return ["const", node.data]
            case nodes.Name():
                if node.name in _UNKNOWN_NAMES:
                    raise self.error(node, f"the name '{node.name}'")
                if not printed:
                    self.used_names.add(node.name)
                return ["name", node.name]
            case nodes.Getattr():
                if isinstance(node.node, nodes.Name) and node.node.name == "loop" and node.attr not in _LOOP_FIELDS:
                    raise self.error(node, f"loop.{node.attr}")
                return ["attr", expression(node.node), node.attr]
            case nodes.Getitem() if isinstance(node.arg, nodes.Slice):
                bounds = (node.arg.start, node.arg.stop, node.arg.step)
                return ["slice", expression(node.node), *(bound and expression(bound) for bound in bounds)]
            case nodes.Getitem():
                return ["item", expression(node.node), expression(node.arg)]
            case nodes.Call() if node.dyn_args is None and node.dyn_kwargs is None:
                return ["call", expression(node.node), *self.arguments(node)]
            case nodes.Filter() if node.name == "safe" and node.node is not None and printed:
                return expression(node.node, printed=True)
            case nodes.Filter() if node.node is not None and node.dyn_args is None and node.dyn_kwargs is None:
                self.check(node, "filter", node.name, FILTERS)
                value = expression(node.node, printed=node.name == "tojson" or (node.name == "string" and printed))
                return ["filter", node.name, value, *self.arguments(node)]
            case nodes.Test() if not node.kwargs and node.dyn_args is None and node.dyn_kwargs is None:
                name = _TEST_NAMES.get(node.name, node.name)
                self.check(node, "test", name, TESTS)
                arguments = [expression(argument, printed=True) for argument in node.args]
                return ["test", name, expression(node.node, printed=True), arguments]
            case nodes.CondExpr():
                other = expression(node.expr2, printed=printed) if node.expr2 is not None else None
                return ["choose", expression(node.test, printed=True), expression(node.expr1, printed=printed), other]
            case nodes.Compare():
                operands = [[operand.op, expression(operand.expr, printed=True)] for operand in node.ops]
                return ["compare", expression(node.expr, printed=True), operands]
            case nodes.Concat():
                return ["concat", [expression(part, printed=True) for part in node.nodes]]
            case nodes.List() | nodes.Tuple():
                return [type(node).__name__.lower(), [expression(item) for item in node.items]]
            case nodes.Dict():
                return ["dict", [[expression(pair.key), expression(pair.value)] for pair in node.items]]
            case nodes.BinExpr():
                return [type(node).__name__.lower(), expression(node.left), expression(node.right)]
            case nodes.Pos():
                return expression(node.node)
            case nodes.UnaryExpr():
                return [type(node).__name__.lower(), expression(node.node)]
            case _:
                raise self.error(node, f"the expression {type(node).__name__}")

    def arguments(self, node: nodes.Call | nodes.Filter) -> tuple[list[Any], dict[str, Any]]:
        keywords = {str(pair.key): self.expression(pair.value) for pair in node.kwargs}
        return [self.expression(argument) for argument in node.args], keywords

    def check(self, node: nodes.Node, kind: str, name: str, known: frozenset[str]) -> None:
        if name not in known:
            raise self.error(node, f"the {kind} '{name}' (there are {', '.join(sorted(known))})")

    def error(self, node: nodes.Node, what: str) -> CompileError:
        return CompileError(
            f"{self.where}, line {node.lineno}: expected a template that can be rendered in C++, but it uses {what}; "
            "simplify the template, or remove it and render the prompts yourself"
        )


def _holds_safe(node: nodes.Node) -> bool:
    """Whether an expression is, or may choose, something that went through `safe`."""
    if isinstance(node, nodes.CondExpr):
        return _holds_safe(node.expr1) or (node.expr2 is not None and _holds_safe(node.expr2))
    return isinstance(node, nodes.Filter) and node.name == "safe"
