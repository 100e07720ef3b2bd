"""Mutants of C++ files, by the syntax tree of tree-sitter: each operator looks at one node and yields edits.

A mutant that the compiler refuses is found out when it is built, and counts for nothing.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from autograder.errors import GraderError
from autograder.release import markers
from autograder.suite_check.mutant import MODULE, Edit, Mutant, Place, mutants

Node = Any  # tree_sitter.Node: the package is optional, and mypy must do without it
Operator = Callable[[Node], Iterator[Edit]]

SWAPPED = {"+": "-", "-": "+", "*": "/", "/": "*", "%": "/", "&&": "||", "||": "&&"}
EDGES = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
NEGATED = {"==": "!=", "!=": "=="}
OPPOSITES = {"min": "max", "max": "min", "max_element": "min_element", "min_element": "max_element"}
OTHER_TYPES = {
    "float": "double", "double": "float", "std::uint8_t": "signed char", "uint8_t": "signed char",
    "std::size_t": "short", "size_t": "short",
}  # fmt: skip
FREEING = re.compile(r"\b(?:free|delete|clear|fill|memset|reset)\b")


def _text(node: Node) -> str:
    return str(node.text.decode())


def _edit(kind: str, node: Node, text: str) -> Edit:
    return Edit(kind, node.start_byte, node.end_byte, text)


def operators(node: Node) -> Iterator[Edit]:
    """Another operator, one operand without the other, the edge of a comparison moved."""
    if node.type != "binary_expression":
        return
    left, symbol, right = (node.child_by_field_name(name) for name in ("left", "operator", "right"))
    word = _text(symbol)
    if word in EDGES:
        yield _edit("edge", symbol, EDGES[word])
    if word in NEGATED:
        yield _edit("comparison", symbol, NEGATED[word])
    if word in SWAPPED:
        kind = "sign" if word in "+-" else "condition" if word in ("&&", "||") else "operator"
        yield _edit(kind, node, f"({_text(left)} {SWAPPED[word]} {_text(right)})")
        for operand in (left, right):
            yield _edit("condition" if kind == "condition" else "operand", node, _text(operand))


def signs(node: Node) -> Iterator[Edit]:
    """A minus or a `!` left out."""
    if node.type == "unary_expression":
        symbol, operand = (node.child_by_field_name(name) for name in ("operator", "argument"))
        if _text(symbol) in ("-", "!"):
            yield _edit("sign" if _text(symbol) == "-" else "condition", node, _text(operand))


def constants(node: Node) -> Iterator[Edit]:
    """A number off by one; a flag the other way round."""
    if node.type == "number_literal":
        text = _text(node)
        if re.fullmatch(r"\d+", text):
            yield _edit("off by one", node, str(int(text) + 1))
            if int(text):
                yield _edit("off by one", node, str(int(text) - 1))
        elif found := re.fullmatch(r"(\d+\.\d*)([fF]?)", text):
            yield _edit("constant", node, f"{float(found[1]) + 1}{found[2]}")
    elif node.type in ("true", "false"):
        yield _edit("constant", node, "false" if node.type == "true" else "true")


def calls(node: Node) -> Iterator[Edit]:
    """`min` for `max`, one of two arguments, a call of one argument left out."""
    if node.type != "call_expression":
        return
    called, given = node.child_by_field_name("function"), node.child_by_field_name("arguments")
    arguments = list(given.named_children)
    name = _text(called).rpartition("::")[2]
    if name in OPPOSITES:
        start = called.end_byte - len(name.encode())
        yield Edit("min/max", start, called.end_byte, OPPOSITES[name])
        if len(arguments) == 2 and "element" not in name:
            for argument in arguments:
                yield _edit("argument", node, f"({_text(argument)})")
    elif len(arguments) == 1 and called.type != "field_expression":
        yield _edit("call", node, f"({_text(arguments[0])})")


def sizes(node: Node) -> Iterator[Edit]:
    """Memory one element too small: `resize(n)`, `new T[n]`, `vector(n)`."""
    if node.type == "new_expression":
        declarator = node.child_by_field_name("declarator")
        if declarator is not None and declarator.named_children:
            size = declarator.named_children[0]
            yield _edit("memory", size, f"({_text(size)}) - 1")
    sized = None
    if node.type == "call_expression" and re.search(
        r"\b(?:resize|reserve|malloc|calloc)$", _text(node.child_by_field_name("function"))
    ):
        sized = node.child_by_field_name("arguments")
    elif node.type == "init_declarator":
        value = node.child_by_field_name("value")
        sized = value if value is not None and value.type == "argument_list" else None
    elif node.type == "function_declarator" and _is_local(node):
        sized = node.child_by_field_name("parameters")
    if sized is not None and sized.named_children:
        size = sized.named_children[0]
        yield _edit("memory", size, f"({_text(size)}) - 1")


def _is_local(declarator: Node) -> bool:
    """Whether this is a variable: `vector<float> z(n);` in a function reads as the declaration of a function."""
    statement = declarator.parent
    return (
        statement is not None
        and statement.type == "declaration"
        and statement.parent is not None
        and statement.parent.type == "compound_statement"
    )


def types(node: Node) -> Iterator[Edit]:
    """Another type: signed for unsigned, short for size_t, double for float."""
    known = node.type in ("primitive_type", "type_identifier", "qualified_identifier")
    part = node.parent is not None and node.parent.type == "qualified_identifier"
    if known and not part and _text(node) in OTHER_TYPES:
        yield _edit("dtype", node, OTHER_TYPES[_text(node)])


def statements(node: Node) -> Iterator[Edit]:
    """A statement or a branch left out; `=` for `+=`; a loop that is left at once."""
    if node.type == "expression_statement":
        yield _edit("free" if FREEING.search(_text(node)) else "statement", node, ";")
    if node.type == "if_statement":
        condition = node.child_by_field_name("condition")
        for value in ("(false)", "(true)"):
            yield _edit("condition", condition, value)
    if node.type == "assignment_expression":
        left, symbol = (node.child_by_field_name(name) for name in ("left", "operator"))
        word = _text(symbol)
        if word in ("+=", "-=", "*=", "/="):
            yield _edit("assignment", symbol, "=")
            yield _edit("sign" if word in ("+=", "-=") else "operator", symbol, SWAPPED[word[0]] + "=")
        elif word == "=" and left.type == "subscript_expression":
            yield _edit("assignment", symbol, "+=")
    if node.type in ("break_statement", "continue_statement"):
        yield _edit("loop", node, "continue;" if node.type == "break_statement" else "break;")


def leaks(node: Node) -> Iterator[Edit]:
    """Memory that a function takes and never gives back."""
    if node.type == "function_definition":
        body = node.child_by_field_name("body")
        if body is not None and body.type == "compound_statement":
            text = " volatile float *lost = new float[4096]; lost[0] = 1;"
            yield Edit("leak", body.start_byte + 1, body.start_byte + 1, text)


OPERATORS: tuple[Operator, ...] = (operators, signs, constants, calls, sizes, types, statements, leaks)


def cpp_mutants(path: str, text: str) -> list[Mutant]:
    """Return all mutants of the solutions in one C++ file, in the order of the file.

    Raises:
        MarkerError: a solution is not marked as it must be.
        GraderError: the parser is not installed.
    """
    regions = markers.regions(text, path)
    code = text.encode()
    return list(mutants(path, code, _edits(_parsed(code), regions)))


def _parsed(code: bytes) -> Node:
    try:
        import tree_sitter
        import tree_sitter_cpp
    except ImportError as error:
        raise GraderError("mutants of C++ need tree-sitter: pip install 'autograder[suite]'") from error
    language = tree_sitter.Language(tree_sitter_cpp.language())
    return tree_sitter.Parser(language).parse(code).root_node


def _edits(root: Node, regions: list[markers.Region]) -> Iterator[tuple[Place, Edit]]:
    pending = [(root, Place(MODULE, 1, root.end_point[0] + 1))]
    while pending:
        node, function = pending.pop()
        first, last = node.start_point[0] + 1, node.end_point[0] + 1
        if node.type == "function_definition" and _name(node):
            function = Place(_name(node), first, last)
        inside = any(region.begin < first and last < region.end for region in regions)
        holds = any(first < region.begin and region.end < last for region in regions)
        for operator in OPERATORS if inside else (leaks,) if holds else ():
            for edit in operator(node):
                yield function, edit
        pending.extend((child, function) for child in reversed(node.named_children))


def _name(node: Node) -> str:
    declarator = node.child_by_field_name("declarator")
    while declarator is not None and declarator.type != "function_declarator":
        declarator = declarator.child_by_field_name("declarator")
    name = declarator.child_by_field_name("declarator") if declarator is not None else None
    return _text(name) if name is not None else ""
