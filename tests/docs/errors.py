"""Lists the text of every error in docs/errors.md, so that all of them can be read side by side.

    python3 tests/docs/errors.py            # exit status 1 when the page is out of date
    python3 tests/docs/errors.py --write    # writes the page

A text is found from where an error is made, such as `Fault::invalid(…)`, `Err(…)` or `raise`: the strings given there, and
those of the variables and functions that are named there. Tests and views are left out. Words in braces are filled in at run time.
"""

from __future__ import annotations

import ast
import difflib
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "errors.md"
RUST = ("src", "crates/domain/src", "crates/proto/src", "crates/client/src", "crates/graph/src", "crates/engine/src")
PYTHON = "clients/python/src/clino"
HEAD = """# Every error text

Made by `python3 tests/docs/errors.py --write` from the sources; CI checks that it is up to date. Words in braces are filled
in at run time. Some texts are parts of a longer one. For what to do about an error, see
[troubleshooting](troubleshooting.md).
"""

# Types that are an error, or hold why there is no value.
ERRORS = {"Fault", "Violation", "MeasureError", "Status", "OpenError", "PlacementRefused", "Failure", "Problem", "RowError"}
# Calls whose argument is an error or makes one.
SINKS = {"Err", "map_err", "ok_or", "ok_or_else", "bail", "warn", "error"}
# Functions that put a warning, or why something is refused, into words.
WORDED = {"refusal", "remarks", "too_long", "not_ended", "unread", "padding_read", "lacking", "namesake"}
TEXTS = {"String", "str", "Cow"}
# Methods of the standard library: what is called so is no function of clino.
COMMON = {"new", "from", "fmt", "to_string", "name", "into", "get", "text", "display", "from_str", "parse", "as_str"}
# Tests, and files that only show what there is.
LEFT_OUT = re.compile(r"(^|/)(tests|\w*_tests|fixtures|contract|quadratic|check|fleet_view|doctor_view|doctor_way|codes|progress|view)(\.rs|/)")

TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<raw>b?r(?P<hashes>\#*)"(?P<inner>.*?)"(?P=hashes))
    |b?"(?P<text>(?:[^"\\]|\\.)*)"
    |(?P<char>b?'(?:[^'\\]|\\.[^']*)')
    |(?P<word>\w+)
    |(?P<mark>::|->|=>|==|.)""",
    re.DOTALL | re.VERBOSE,
)
ESCAPE = re.compile(r"\\(\n\s*|u\{[0-9a-fA-F_]+\}|x[0-9a-fA-F]{2}|.)")
INLINE = re.compile(r"\{([a-z_]\w*)(?::[^}]*)?\}")


@dataclass
class Text:
    """A string of the source, and where it stands."""

    value: str
    place: int


@dataclass
class Group:
    """What is between two brackets."""

    bracket: str
    inner: list = field(default_factory=list)


@dataclass
class Function:
    """A function of a source file."""

    name: str
    gives: set[str]
    body: list
    file: str
    known: dict[str, list[list]] = field(default_factory=dict)


def unescaped(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] == "\n":
            return ""
        return {"n": "\\n", "t": "\\t", '"': '"', "\\": "\\", "'": "'"}.get(code, match[0])

    return ESCAPE.sub(one, text)


def tokens(source: str) -> list:
    """The source as a tree of words, marks, texts and groups."""
    stack = [Group("")]
    for match in TOKEN.finditer(source):
        if match["skip"] or match["char"]:
            continue
        if match["text"] is not None or match["raw"]:
            value = match["inner"] if match["raw"] else unescaped(match["text"])
            stack[-1].inner.append(Text(value, match.start()))
        elif (mark := match[0]) in "([{":
            stack.append(Group(mark))
            stack[-2].inner.append(stack[-1])
        elif mark in ")]}":
            stack.pop()
        else:
            stack[-1].inner.append(mark)
    return stack[0].inner


def without_tests(tree: list) -> list:
    """The tree without what stands below `#[cfg(test)]`, and without attributes."""
    kept: list = []
    place = 0
    while place < len(tree):
        here, after = tree[place], tree[place + 1] if place + 1 < len(tree) else None
        if here == "#" and isinstance(after, Group) and after.bracket == "[":
            place += 2
            words = set(flat(after.inner))
            if after.inner[0] == "cfg" and "test" in words and "not" not in words:
                while place < len(tree) and tree[place] != ";" and not is_group(tree[place], "{"):
                    place += 1
                place += 1
            continue
        if isinstance(here, Group):
            here = Group(here.bracket, without_tests(here.inner))
        kept.append(here)
        place += 1
    return kept


def is_group(token: object, brackets: str) -> bool:
    return isinstance(token, Group) and token.bracket in brackets


def flat(tree: Iterable) -> Iterator[str]:
    """All words of a tree."""
    for token in tree:
        if isinstance(token, Group):
            yield from flat(token.inner)
        elif isinstance(token, str):
            yield token


def functions(tree: list, file: str, owner: str = "") -> Iterator[Function]:
    """Every function of a tree, those within others as well; `owner` is the type whose `impl` it is in."""
    for place, token in enumerate(tree):
        if isinstance(token, Group):
            words = [word for word in tree[max(place - 8, 0) : place] if isinstance(word, str)]
            implements = "impl" in words and is_group(token, "{")
            yield from functions(token.inner, file, words[-1] if implements else owner)
        elif token == "fn" and place + 1 < len(tree) and isinstance(tree[place + 1], str):
            end = next((at for at in range(place, len(tree)) if tree[at] == ";" or is_group(tree[at], "{")), None)
            if end is not None and isinstance(tree[end], Group):
                signature = tree[place:end]
                arrow = signature.index("->") if "->" in signature else len(signature)
                bound = signature.index("where") if "where" in signature else len(signature)
                found = Function(tree[place + 1], set(flat(signature[arrow:bound])), tree[end].inner, file)
                if owner in ERRORS and "Self" in found.gives:
                    found.gives.add(owner)
                found.known = bindings(found.body)
                yield found


def bindings(tree: list) -> dict[str, list[list]]:
    """What each variable of a function is bound to."""
    found = defaultdict(list)
    for place, token in enumerate(tree):
        if isinstance(token, Group):
            for name, values in bindings(token.inner).items():
                found[name] += values
        elif token in ("let", "const", "static") and "=" in (rest := statement(tree, place)):
            equals = rest.index("=")
            colon = rest.index(":") if ":" in rest[:equals] else equals
            for name in flat(rest[1:colon]):
                if re.fullmatch(r"[a-zA-Z_]\w*", name):
                    found[name].append(rest[equals + 1 :])
    return found


def statement(tree: list, place: int) -> list:
    """The tokens from a place to the next semicolon, or to the body of an `if let`."""
    conditional = place > 0 and tree[place - 1] in ("if", "while", "&")
    rest = []
    for token in tree[place:]:
        if token == ";" or (conditional and is_group(token, "{")):
            break
        rest.append(token)
    return rest


class Crates:
    """All functions of the Rust sources, and what is found in them."""

    def __init__(self) -> None:
        self.functions: list[Function] = []
        self.constants: dict[tuple[str, str], list[list]] = {}
        for folder in RUST:
            for path in sorted((ROOT / folder).rglob("*.rs")):
                file = path.relative_to(ROOT).as_posix()
                if not LEFT_OUT.search(file):
                    tree = without_tests(tokens(path.read_text(encoding="utf-8")))
                    self.functions += functions(tree, file)
                    for name, values in bindings([token for token in tree if not is_group(token, "{")]).items():
                        self.constants[file, name] = values
        self.by_name: dict[str, list[Function]] = defaultdict(list)
        for function in self.functions:
            if function.name not in COMMON:
                self.by_name[function.name].append(function)
        self.makers = {name for name, found in self.by_name.items() if any(f.gives & ERRORS for f in found)}
        self.found: dict[str, dict[int, str]] = defaultdict(dict)
        self.seen: set[int] = set()

    def texts(self) -> dict[str, list[str]]:
        for function in self.functions:
            if function.name in WORDED or (function.gives & ERRORS and "Result" not in function.gives):
                self.reach(function.body, function)
            else:
                self.search(function.body, function)
        return {file: [texts[at] for at in sorted(texts)] for file, texts in self.found.items()}

    def search(self, tree: list, function: Function) -> None:
        """Looks for places where an error is made."""
        local = {
            name
            for name, values in function.known.items()
            if any("|" in value and (ERRORS | self.makers) & set(flat(value)) for value in values)
        }
        for place, token in enumerate(tree):
            if not isinstance(token, Group):
                continue
            words = [word for word in tree[max(place - 3, 0) : place] if isinstance(word, str) and word != "!"]
            before = words[-1] if words else ""
            path = words[0] if words[1:2] == ["::"] else ""
            makes = before in SINKS | local | ERRORS | self.makers or path in ERRORS
            if makes and token.bracket in "({":
                self.reach(token.inner, function)
            else:
                self.search(token.inner, function)

    def reach(self, tree: list, function: Function) -> None:
        """Takes all texts of a tree from which an error is made, and those that it names."""
        if id(tree) in self.seen:
            return
        self.seen.add(id(tree))
        for place, token in enumerate(tree):
            if isinstance(token, Group):
                self.reach(token.inner, function)
            elif isinstance(token, Text):
                self.found[function.file][token.place] = token.value
                for name in INLINE.findall(token.value):
                    self.follow(name, function)
            elif place + 1 < len(tree) and is_group(tree[place + 1], "("):
                self.call(token, function)
                self.follow(token, function)
            elif place == 0 or tree[place - 1] != ".":
                self.follow(token, function)

    def follow(self, name: str, function: Function) -> None:
        for value in function.known.get(name, []) + self.constants.get((function.file, name), []):
            self.reach(value, function)

    def call(self, name: str, function: Function) -> None:
        """Goes into a function that makes a text: that of this file, or the only one of its name."""
        found = self.by_name.get(name, [])
        near = [other for other in found if other.file == function.file]
        for other in near or (found if len(found) == 1 else []):
            if other.gives & TEXTS and "Result" not in other.gives:
                self.reach(other.body, other)


class Package:
    """All functions of the Python client, and what is found in them."""

    def __init__(self) -> None:
        self.found: dict[str, dict[tuple[int, int], str]] = defaultdict(dict)
        self.seen: set[int] = set()
        self.modules: dict[str, ast.Module] = {}
        self.defined: dict[str, list[tuple[str, ast.AST]]] = defaultdict(list)
        for path in sorted((ROOT / PYTHON).rglob("*.py")):
            file = path.relative_to(ROOT).as_posix()
            if "/v1/" not in file:
                self.modules[file] = ast.parse(path.read_text(encoding="utf-8"))
        for file, module in self.modules.items():
            for node in ast.walk(module):
                if (
                    isinstance(node, ast.FunctionDef)
                    and node.returns
                    and re.search(r"\bstr\b", ast.unparse(node.returns))
                ):
                    self.defined[node.name].append((file, node))
            for node in module.body:
                if isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
                    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                        self.defined[ast.unparse(target)].append((file, node.value))

    def texts(self) -> dict[str, list[str]]:
        for file, module in self.modules.items():
            self.search(module, file, {})
        return {file: [texts[at] for at in sorted(texts)] for file, texts in self.found.items()}

    def search(self, tree: ast.AST, file: str, known: dict[str, list[ast.AST]]) -> None:
        for node in ast.iter_child_nodes(tree):
            inner = assigned(node) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else known
            if isinstance(node, ast.Raise) and node.exc:
                self.reach(node.exc, file, inner)
            elif isinstance(node, ast.Call) and tells(node.func):
                for argument in node.args:
                    self.reach(argument, file, inner)
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("remark", "why", "advice"):
                self.reach(node.value, file, inner)
            self.search(node, file, inner)

    def reach(self, tree: ast.AST, file: str, known: dict[str, list[ast.AST]]) -> None:
        if id(tree) in self.seen:
            return
        self.seen.add(id(tree))
        if isinstance(tree, ast.FunctionDef):
            known = assigned(tree)
            body = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
            for node in body:
                self.reach(node, file, known)
            return
        if isinstance(tree, ast.Constant | ast.JoinedStr):
            if (text := template(tree)) is not None:
                self.found[file][tree.lineno, tree.col_offset] = text
            if isinstance(tree, ast.Constant):
                return
        if isinstance(tree, ast.Name | ast.Attribute):
            name = tree.id if isinstance(tree, ast.Name) else tree.attr
            for value in known.get(name, []):
                self.reach(value, file, known)
            for other, value in self.defined.get(name, []):
                self.reach(value, other, {})
        if isinstance(tree, ast.JoinedStr):
            children = [part.value for part in tree.values if isinstance(part, ast.FormattedValue)]
        else:
            children = ast.iter_child_nodes(tree)
        for node in children:
            self.reach(node, file, known)


def assigned(function: ast.AST) -> dict[str, list[ast.AST]]:
    """What each variable of a function is bound to."""
    found = defaultdict(list)
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and node.value:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        found[name.id].append(node.value)
    return found


def tells(called: ast.AST) -> bool:
    """Whether a call warns or tells of an error."""
    return isinstance(called, ast.Attribute) and called.attr in ("warning", "warn", "error", "remark", "pend", "fail")


def template(node: ast.Constant | ast.JoinedStr) -> str | None:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    parts = []
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            parts.append("{" + value_name(part.value) + "}")
        else:
            parts.append(str(part.value))
    return "".join(parts)


def value_name(node: ast.AST) -> str:
    """What is filled in, by the variable that it comes from."""
    if isinstance(node, ast.Call) and len(node.args) == 1:
        return value_name(node.args[0])
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else "…"


def is_sentence(text: str) -> bool:
    """Whether a text says something, and is not the name of a field."""
    words = re.findall(r"[A-Za-z]{2,}", re.sub(r"\{[^}]*\}", "", text))
    return bool(words) and " " in text.strip(" ,;:") and not re.search(r"^(SELECT|PRAGMA) |ORDER BY|\?\d", text)


def page() -> tuple[str, int]:
    """The page, and how many texts are on it."""
    text, number = HEAD, 0
    for file, texts in sorted({**Crates().texts(), **Package().texts()}.items()):
        lines = list(dict.fromkeys(line.replace("\n", "\\n") for line in texts if is_sentence(line)))
        if lines:
            text += f"\n## {file}\n\n```text\n" + "\n".join(lines) + "\n```\n"
            number += len(lines)
    return text, number


def main() -> int:
    text, number = page()
    if "--write" in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if old != text:
        changes = difflib.unified_diff(old.splitlines(), text.splitlines(), PAGE.name, "the sources", lineterm="", n=0)
        print(*changes, sep="\n")
        print("python3 tests/docs/errors.py --write brings the page up to date")
        return 1
    print(f"proof: {number} error texts, as docs/errors.md lists them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
