"""Mutants of Python files: each operator looks at one node of the syntax tree and yields edits of the source text.

Edits of the text, not of the tree, keep comments and formatting, so that a diff shows the mistake alone. An operator
that could change how the rest of an expression is read puts parentheses around what it writes. `python_mutants` drops
what is no Python any more, and what is the same program as before.
"""

import ast
import re
from collections.abc import Callable, Iterator

from autograder.suite_check.mutant import Edit, Mutant, Place, apply, mutants
from autograder.suite_check.python_source import (
    FunctionNode,
    PythonSource,
    argument_texts,
    arguments,
    defaults,
)

Operator = Callable[[ast.AST, PythonSource], Iterator[Edit]]

SYMBOLS: dict[type[ast.operator], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.MatMult: "@", ast.BitAnd: "&", ast.BitOr: "|",
}  # fmt: skip
SWAPPED = {
    "+": "-",
    "-": "+",
    "*": "/",
    "/": "*",
    "//": "/",
    "%": "//",
    "**": "*",
    "@": "*",
    "&": "|",
    "|": "&",
}
EDGES = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
NEGATED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
NEGATED |= {"is": "is not", "is not": "is", "in": "not in", "not in": "in"}
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip
AXIS_WORDS = ("axis", "axes", "dim")
REDUCTIONS = ("sum", "mean", "max", "min", "argmax", "argmin", "any", "all", "cumsum", "squeeze", "unsqueeze")
OPPOSITES = {"max": "min", "maximum": "minimum", "argmax": "argmin", "amax": "amin", "ceil": "floor"}
OPPOSITES |= {value: key for key, value in OPPOSITES.items()}
REDUCED_OTHERWISE = {"sum": "mean", "mean": "sum"}
TRANSPOSES = ("transpose", "swapaxes", "permute", "moveaxis", "t")
COPIES = ("copy", "clone")
CASTS = ("astype", "float", "double", "half", "to", "type_as")
MAKERS = re.compile(
    r"(zeros|ones|empty|full)(_like)?|eye|arange|array|copy|clone|exp|matmul|list|dict|set|int|float|sum"
)
ARRAY = re.compile(r"ndarray|Tensor\b")


# Expressions -----------------------------------------------------------------------------------------------


def _token(source: PythonSource, left: ast.AST, right: ast.AST, symbol: str) -> tuple[int, int]:
    """Return where the operator between two nodes stands; parentheses and comments may be around it."""
    start, end = source.span(left)[1], source.span(right)[0]
    pattern = r"\s+".join(map(re.escape, symbol.split()))
    found = re.search(pattern, source.between(start, end))
    if found is None:
        raise ValueError(f"{source.path}: there is no {symbol} between two operands")
    before = len(source.between(start, end)[: found.start()].encode())
    return start + before, start + before + len(found[0].encode())


def operators(node: ast.AST, source: PythonSource) -> Iterator[Edit]:
    """Another operator, or one operand without the other."""
    if not isinstance(node, ast.BinOp) or type(node.op) not in SYMBOLS:
        return
    symbol = SYMBOLS[type(node.op)]
    (start, end), (first, last) = source.span(node), _token(source, node.left, node.right, symbol)
    left, right = source.between(start, first).strip(), source.between(last, end).strip()
    kind = "sign" if symbol in "+-" else "operator"
    swapped = f"{left} {SWAPPED[symbol]} {right}"
    yield Edit(kind, start, end, f"({swapped})" if symbol in ("**", "&", "|") else swapped)
    yield Edit("operand", start, end, left)
    yield Edit("operand", start, end, right)


def comparisons(node: ast.AST, source: PythonSource) -> Iterator[Edit]:
    """The edge of a comparison moved, or the comparison turned around."""
    if not isinstance(node, ast.Compare):
        return
    lefts = [node.left, *node.comparators]
    for left, operator, right in zip(lefts, node.ops, node.comparators, strict=False):
        symbol = COMPARISONS[type(operator)]
        span = _token(source, left, right, symbol)
        if symbol in EDGES:
            yield Edit("edge", *span, EDGES[symbol])
        yield Edit("comparison", *span, NEGATED[symbol])


def conditions(node: ast.AST, source: PythonSource) -> Iterator[Edit]:
    """`and` for `or`, a condition without one of its parts, or without its `not`; one branch always."""
    if isinstance(node, ast.BoolOp):
        parts = [f"({source.of(v)})" if isinstance(v, (ast.BoolOp, ast.IfExp, ast.Lambda)) else source.of(v)
                 for v in node.values]  # fmt: skip
        word, other = (" and ", " or ") if isinstance(node.op, ast.And) else (" or ", " and ")
        yield Edit("condition", *source.span(node), f"({other.join(parts)})")
        for i in range(len(parts)):
            yield Edit("condition", *source.span(node), word.join(parts[:i] + parts[i + 1 :]))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield Edit("condition", *source.span(node), f"({source.of(node.operand)})")
    elif isinstance(node, ast.IfExp):
        for branch in (node.body, node.orelse):
            yield Edit("condition", *source.span(node), f"({source.of(branch)})")
    elif isinstance(node, ast.comprehension):
        for test in node.ifs:
            yield Edit("condition", *source.span(test), "True")


def signs(node: ast.AST, source: PythonSource) -> Iterator[Edit]:
    """A minus left out."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield Edit("sign", *source.span(node), source.of(node.operand))


def constants(node: ast.AST, source: PythonSource) -> Iterator[Edit]:
    """A number off by one; a flag the other way round."""
    if not isinstance(node, ast.Constant):
        return
    parent, value = source.parents.get(node), node.value
    if isinstance(parent, ast.keyword) and parent.arg in (*AXIS_WORDS, "keepdims", "strict"):
        return
    if isinstance(value, bool):
        yield Edit("constant", *source.span(node), str(not value))
    elif isinstance(value, int):
        yield Edit("off by one", *source.span(node), str(value + 1))
        if value > 0:
            yield Edit("off by one", *source.span(node), str(value - 1))
    elif isinstance(value, float):
        yield Edit("constant", *source.span(node), repr(value * 2 if value else 1.0))


def slices(node: ast.AST, source: PythonSource) -> Iterator[Edit]:
    """A slice that loses a bound, or ends one too early."""
    if not isinstance(node, ast.Slice) or node.step is not None:
        return
    lower = source.of(node.lower) if node.lower else ""
    upper = source.of(node.upper) if node.upper else ""
    if upper:
        yield Edit("off by one", *source.span(node), f"{lower}:({upper}) - 1")
        yield Edit("slice", *source.span(node), f"{lower}:")
    if lower:
        yield Edit("slice", *source.span(node), f":{upper}")


def attributes(node: ast.AST, source: PythonSource) -> Iterator[Edit]:
    """`.T` left out; `min` for `max`, `mean` for `sum`."""
    if isinstance(node, ast.Attribute):
        start, end = source.span(node)
        name_start = end - len(node.attr.encode())
        if node.attr in ("T", "mT", "H"):
            yield Edit("transpose", start, end, _operand(node.value, source))
        if node.attr in OPPOSITES:
            yield Edit("min/max", name_start, end, OPPOSITES[node.attr])
        if node.attr in REDUCED_OTHERWISE:
            yield Edit("reduction", name_start, end, REDUCED_OTHERWISE[node.attr])
    elif isinstance(node, ast.Name) and node.id in OPPOSITES and isinstance(source.parents[node], ast.Call):
        yield Edit("min/max", *source.span(node), OPPOSITES[node.id])


def names(node: ast.AST, source: PythonSource) -> Iterator[Edit]:
    """A constant in the place of an argument: its default value, or 1 where it is a factor."""
    if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Load):
        return
    function, parent = source.functions.get(node), source.parents.get(node)
    default = defaults(function).get(node.id)
    if isinstance(default, ast.Constant) and default.value is not None:
        yield Edit("argument", *source.span(node), source.of(default))
        return
    factor = isinstance(parent, ast.BinOp) and isinstance(parent.op, (ast.Mult, ast.Div))
    if factor and node.id in arguments(function):
        yield Edit("argument", *source.span(node), "1")


# Calls -----------------------------------------------------------------------------------------------------


def _operand(node: ast.AST, source: PythonSource) -> str:
    """Return a node's text, safe beside any operator."""
    simple = (ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.Constant)
    return source.of(node) if isinstance(node, simple) else f"({source.of(node)})"


def _call(node: ast.Call, source: PythonSource, kept: list[ast.AST]) -> str:
    return f"{source.of(node.func)}({', '.join(source.of(argument) for argument in kept)})"


def axes(node: ast.AST, source: PythonSource) -> Iterator[Edit]:
    """Another axis, no axis, or dimensions that are dropped instead of kept."""
    if not isinstance(node, ast.Call):
        return
    every = [*node.args, *node.keywords]
    for keyword in node.keywords:
        if keyword.arg in AXIS_WORDS:
            if isinstance(keyword.value, (ast.Constant, ast.UnaryOp)):
                other = "1" if source.of(keyword.value) == "0" else "0"
                yield Edit("axis", *source.span(keyword.value), other)
            yield Edit(
                "axis", *source.span(node), _call(node, source, [a for a in every if a is not keyword])
            )
        if keyword.arg in ("keepdims", "keepdim"):
            yield Edit(
                "axis", *source.span(node), _call(node, source, [a for a in every if a is not keyword])
            )
    method = isinstance(node.func, ast.Attribute) and node.func.attr in REDUCTIONS
    if method and len(node.args) == 1 and isinstance(node.args[0], ast.Constant):
        other = "1" if node.args[0].value == 0 else "0"
        yield Edit("axis", *source.span(node.args[0]), other)


def calls(node: ast.AST, source: PythonSource) -> Iterator[Edit]:
    """A call replaced by its operand; the kind says what it did: a transpose, a copy, a cast, detach, or anything else.

    Also a call of `asarray` in place of `array`, without its dtype, or with its first two arguments exchanged.
    """
    if not isinstance(node, ast.Call) or _is_raised(node, source):
        return
    span, called = source.span(node), node.func
    if isinstance(called, ast.Attribute):
        kind = _kind_of_method(called.attr)
        if (
            kind == "transpose"
            and node.args
            and isinstance(called.value, ast.Name)
            and called.value.id == "np"
        ):
            yield Edit(kind, *span, _operand(node.args[0], source))
        elif kind:
            yield Edit(kind, *span, _operand(called.value, source))
        elif not node.args and not node.keywords:
            yield Edit("call", *span, _operand(called.value, source))
        if called.attr == "array":
            yield Edit("copy", *source.span(called), f"{source.of(called.value)}.asarray")
    elif isinstance(called, ast.Name) and called.id in TRANSPOSES and node.args:
        yield Edit("transpose", *span, _operand(node.args[0], source))
    plain = [argument for argument in node.args if not isinstance(argument, (ast.Starred, ast.GeneratorExp))]
    if (
        len(plain) == 1 == len(node.args)
        and not node.keywords
        and not _kind_of_method(getattr(called, "attr", ""))
    ):
        yield Edit("call", *span, _operand(plain[0], source))
    for keyword in node.keywords:
        if keyword.arg == "dtype":
            kept = [argument for argument in (*node.args, *node.keywords) if argument is not keyword]
            yield Edit("dtype", *span, _call(node, source, kept))
    if len(plain) == len(node.args) >= 2 and not (isinstance(called, ast.Name) and called.id == "range"):
        first, second = source.of(plain[0]), source.of(plain[1])
        start, end = source.span(plain[0])[0], source.span(plain[1])[1]
        yield Edit("argument", start, end, f"{second}, {first}")


def _kind_of_method(name: str) -> str:
    kinds = {"transpose": TRANSPOSES, "copy": COPIES, "dtype": CASTS, "detach": ("detach",)}
    return next((kind for kind, known in kinds.items() if name in known), "")


def _is_raised(node: ast.AST, source: PythonSource) -> bool:
    return isinstance(source.parents.get(node), ast.Raise)


def ranges(node: ast.AST, source: PythonSource) -> Iterator[Edit]:
    """A range that drops a smaller last minibatch, or ends one too early; a loop in the other order.

    A loop over all indices is left in its order, and so is a loop that only adds up or multiplies: such loops nearly
    always compute the same in any order.
    """
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        parts = [source.of(argument) for argument in node.args]
        if len(parts) == 3:
            start, stop, step = parts
            whole = f"range({start}, ({stop}) - ({stop}) % ({step}), {step})"
            yield Edit("last minibatch", *source.span(node), whole)
        if 1 <= len(parts) <= 2 and not isinstance(node.args[-1], ast.Starred):
            yield Edit("off by one", *source.span(node.args[-1]), f"({parts[-1]}) - 1")
    if isinstance(node, ast.For) and not _counts_indices(node.iter) and not _only_accumulates(node.body):
        yield Edit("order", *source.span(node.iter), f"reversed(list({source.of(node.iter)}))")


def _counts_indices(node: ast.expr) -> bool:
    """Whether an expression is a range without a step."""
    called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"
    return called and len(node.args) < 3  # type: ignore[attr-defined]


def _only_accumulates(body: list[ast.stmt]) -> bool:
    """Whether statements only add to names or multiply them."""
    return all(
        isinstance(one, ast.AugAssign)
        and isinstance(one.target, ast.Name)
        and isinstance(one.op, ast.Add | ast.Mult)
        for one in body
    )


# Statements ------------------------------------------------------------------------------------------------


def checks(node: ast.AST, source: PythonSource) -> Iterator[Edit]:
    """A check that is not made, a branch that is always or never taken."""
    if not isinstance(node, ast.If):
        return
    start, end = source.span(node)
    if isinstance(node.body[-1], ast.Raise):
        if node.orelse or source.between(start, start + 4) == "elif":
            yield Edit("check", *source.span(node.test), "False")
        else:
            yield Edit("check", start, end, "pass")
    else:
        for value in ("False", "True"):
            yield Edit("condition", *source.span(node.test), value)


def raises(node: ast.AST, source: PythonSource) -> Iterator[Edit]:
    """Another type of exception, no message where the specification promises one, an exception let through."""
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        yield Edit("raise", *source.span(node.exc.func), "Exception")
        if "message" in source.text.lower() and node.exc.args:
            yield Edit("message", source.span(node.exc.func)[1], source.span(node.exc)[1], "()")
    if isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Tuple):
        for one in node.type.elts:
            kept = [source.of(other) for other in node.type.elts if other is not one]
            yield Edit("except", *source.span(node.type), f"({', '.join(kept)},)")
    elif isinstance(node, ast.ExceptHandler) and node.type is not None:
        yield Edit("except", *source.span(node.type), "ZeroDivisionError")


def augmented(node: ast.AST, source: PythonSource) -> Iterator[Edit]:
    """`=` for `+=`, `-=` for `+=`, and a new object where others may hold the old one."""
    if not isinstance(node, ast.AugAssign) or type(node.op) not in SYMBOLS:
        return
    symbol = SYMBOLS[type(node.op)]
    span, target, value = source.span(node), source.of(node.target), source.of(node.value)
    yield Edit("assignment", *span, f"{target} = {value}")
    if not isinstance(node.target, ast.Subscript) and not _is_fresh(node.target, source):
        yield Edit("in place", *span, f"{target} = {target} {symbol} ({value})")
    if symbol in SWAPPED:
        yield Edit("sign", *span, f"{target} {SWAPPED[symbol]}= {value}")


def assignments(node: ast.AST, source: PythonSource) -> Iterator[Edit]:
    """`+=` for `=` on what outlives the call."""
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return
    target, value = source.of(node.targets[0]), source.of(node.value)
    if isinstance(node.targets[0], ast.Attribute):
        text = f"{target} = ({value}) if {target} is None else {target} + ({value})"
        yield Edit("accumulate", *source.span(node), text)
    elif isinstance(node.targets[0], ast.Subscript) and not _is_fresh(node.targets[0].value, source):
        yield Edit("accumulate", *source.span(node), f"{target} += {value}")


def _is_fresh(node: ast.expr, source: PythonSource) -> bool:
    """Whether a name only ever holds objects that its function has just made: nobody else can see them change."""
    function = source.functions.get(node)
    if not isinstance(node, ast.Name) or function is None or node.id in arguments(function):
        return False
    assigned = []
    for other in ast.walk(function):
        if isinstance(other, ast.Assign):
            for target in other.targets:
                assigned += list(_assigned(node.id, target, other.value))
        elif isinstance(other, (ast.For, ast.comprehension)) and node.id in _names_in(other.target):
            return False
    return bool(assigned) and all(map(_makes, assigned))


def _makes(value: ast.expr) -> bool:
    """Whether an expression makes a new object; a method may return a view of an old one."""
    if isinstance(value, ast.Call):
        name = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
        if name == "astype":
            return not any(keyword.arg == "copy" for keyword in value.keywords)
        return MAKERS.fullmatch(name) is not None
    return isinstance(value, (ast.BinOp, ast.Constant))


def _assigned(name: str, target: ast.expr, value: ast.expr) -> Iterator[ast.expr]:
    """Yield what an assignment gives to a name; the whole value where it is unpacked from something else."""
    if isinstance(target, ast.Name) and target.id == name:
        yield value
    elif (
        isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts)
    ):
        for left, right in zip(target.elts, value.elts, strict=True):
            yield from _assigned(name, left, right)
    elif not isinstance(target, (ast.Attribute, ast.Subscript)) and name in _names_in(target):
        yield ast.Name(name)  # unpacked: it may be anybody's


def _names_in(target: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}


def writes_to_inputs(node: ast.AST, source: PythonSource) -> Iterator[Edit]:
    """A sum or product computed in the memory of its first operand, an argument of the function.

    A class of the course without methods such as `__iadd__` only gets a new name for a new object from `+=`.
    """
    if not isinstance(node, (ast.Assign, ast.Return)) or not isinstance(node.value, ast.BinOp):
        return
    left, operator = node.value.left, type(node.value.op)
    function = source.functions.get(node)
    if isinstance(left, ast.Name) and operator in SYMBOLS and _writable(left.id, function, source):
        target = f"{source.of(node.targets[0])} = " if isinstance(node, ast.Assign) else "return "
        changed = f"{left.id} {SYMBOLS[operator]}= {source.of(node.value.right)}"
        text = f"{changed}\n{source.indent(node)}{target}{left.id}"
        yield Edit("in place", *source.span(node), text)


def _writable(name: str, function: FunctionNode | None, source: PythonSource) -> bool:
    """Whether a parameter may hold an object that an operator such as `+=` changes."""
    argument = arguments(function).get(name)
    if argument is None:
        return False
    return argument.annotation is None or ast.unparse(argument.annotation) not in source.immutable


def statements(node: ast.AST, source: PythonSource) -> Iterator[Edit]:
    """A statement left out; `break` for `continue`."""
    if isinstance(node, ast.Break):
        yield Edit("loop", *source.span(node), "continue")
    elif isinstance(node, ast.Continue):
        yield Edit("loop", *source.span(node), "break")
        yield Edit("loop", *source.span(node), "pass")
    elif (isinstance(node, (ast.Expr, ast.AugAssign, ast.Delete)) or _is_kept(node)
          or (isinstance(node, ast.Assign) and _is_rebound(node, source))):  # fmt: skip
        yield Edit("statement", *source.span(node), "pass")


def _is_kept(node: ast.AST) -> bool:
    """Whether an assignment is to something that outlives the function."""
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], (ast.Attribute, ast.Subscript))


def _is_rebound(node: ast.Assign, source: PythonSource) -> bool:
    """Whether the name has a value already: an argument, or an assignment above."""
    target, function = node.targets[0], source.functions.get(node)
    if not isinstance(target, ast.Name) or function is None:
        return False
    above = (
        other for other in ast.walk(function) if isinstance(other, ast.Assign) and other.lineno < node.lineno
    )
    return target.id in arguments(function) or any(
        isinstance(name, ast.Name) and name.id == target.id for other in above for name in other.targets
    )


def returns(node: ast.AST, source: PythonSource) -> Iterator[Edit]:
    """A returned value of another dtype, cut off from its graph, or after a change of an input."""
    if not isinstance(node, ast.Return) or node.value is None:
        return
    function, span = source.functions.get(node), source.span(node.value)
    text = source.of(node.value)
    annotation = source.of(function.returns) if function is not None and function.returns else ""
    single = not isinstance(node.value, (ast.Tuple, ast.Constant))
    if single and "torch.Tensor" in annotation:
        for cast in ("float", "double"):
            yield Edit("dtype", *span, f"({text}).{cast}()")
    if single and re.fullmatch(r"np\.(ndarray|floating)", annotation):
        for dtype in ("float32", "float64"):
            yield Edit("dtype", *span, f"np.asarray({text}, dtype=np.{dtype})[()]")
    if single and "torch.Tensor" in annotation:
        yield Edit("detach", *span, f"({text}).requires_grad_()")
    elif "Value" in annotation or "Tensor" in annotation:
        parts = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        for part in parts:
            if not isinstance(part, ast.Constant):
                yield Edit("detach", *source.span(part), f"({source.of(part)}).detach()")
    for name in _unchanged_inputs(function, source):
        indent = source.indent(node)
        changed = f"result = {text}\n{indent}{name} += 1\n{indent}return result"
        yield Edit("input changed", *source.span(node), changed)


def _unchanged_inputs(function: FunctionNode | None, source: PythonSource) -> list[str]:
    """Return the arrays among the parameters of which the docstring says that they are not changed."""
    if function is None:
        return []
    said = argument_texts(ast.get_docstring(function, clean=False) or "")
    found = []
    for name, argument in arguments(function).items():
        annotation = ast.unparse(argument.annotation) if argument.annotation else ""
        array = not annotation or ARRAY.search(annotation)
        if "ot changed" in said.get(name, "") and array and _writable(name, function, source):
            found.append(name)
    return found


def beginnings(node: ast.AST, source: PythonSource) -> Iterator[Edit]:
    """Arguments narrowed at the beginning of a function: cast to another dtype, or only one of the types taken."""
    function = source.functions.get(node)
    if function is None or not isinstance(node, ast.stmt) or node not in function.body:
        return
    if not (node is function.body[0] or (len(function.body) > 1 and node is function.body[1]
                                         and ast.get_docstring(function) is not None)):  # fmt: skip
        return
    said = argument_texts(ast.get_docstring(function, clean=False) or "")
    start, indent = source.span(node)[0], source.indent(node)
    for name, argument in arguments(function).items():
        annotation = source.of(argument.annotation) if argument.annotation else ""
        text = said.get(name, "")
        if "ndarray" in annotation and re.search(r"\binteger\b", text):
            yield Edit("narrower", start, start, f"{name} = {name}.astype(np.uint8)\n{indent}")
        if "ndarray" in annotation and re.search(r"\bfloat\b", text):
            yield Edit("narrower", start, start, f"{name} = {name}.astype(np.float32)\n{indent}")
        first, _, others = annotation.partition(" | ")
        if others and "None" not in annotation and re.fullmatch(r"\w+", first):
            check = f"if not isinstance({name}, {first}):\n{indent}    raise TypeError({name!r})\n{indent}"
            yield Edit("narrower", start, start, check)


def endings(node: ast.AST, source: PythonSource) -> Iterator[Edit]:
    """A function without a result that returns its first argument, or changes an input in the end."""
    function = source.functions.get(node)
    if function is None or not isinstance(node, ast.stmt) or node is not function.body[-1]:
        return
    if any(isinstance(other, (ast.Return, ast.Yield)) for other in ast.walk(function)):
        return
    end, indent = source.span(node)[1], source.indent(node)
    first = next(iter(arguments(function)), None)
    if first:
        yield Edit("return", end, end, f"\n{indent}return {first}")
    for name in _unchanged_inputs(function, source):
        yield Edit("input changed", end, end, f"\n{indent}{name} += 1")


OPERATORS: tuple[Operator, ...] = (
    operators, comparisons, conditions, signs, constants, slices, attributes, names, axes, calls, ranges,
    checks, raises, augmented, assignments, writes_to_inputs, statements, returns, beginnings, endings,
)  # fmt: skip


def python_mutants(path: str, text: str, immutable: frozenset[str] = frozenset()) -> list[Mutant]:
    """Return all mutants of the solutions in one Python file, in the order of the file.

    Args:
        path: the file's name in the mutants' ids.
        text: its content.
        immutable: names of classes that no operator such as `+=` changes.

    Raises:
        MarkerError: a solution is not marked as it must be.
    """
    source = PythonSource(path, text, immutable)
    return list(mutants(path, source.code, _valid(source)))


def _valid(source: PythonSource) -> Iterator[tuple[Place, Edit]]:
    """Yield the edits whose result is a Python program that differs from the original."""
    original = ast.dump(source.tree)
    for node in source.solution_nodes():
        for operator in OPERATORS:
            for edit in operator(node, source):
                try:
                    tree = ast.parse(apply(source.code, edit))
                except SyntaxError:
                    continue
                if ast.dump(tree) != original:
                    yield source.place_of(node), edit
