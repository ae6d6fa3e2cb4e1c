"""What the code of the product must not do. Each test lists every place, so that one run tells all."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.repo.sources import Module, dotted, modules

CLOCK = "server/base/clock.py"
LIMITS = "server/base/limits.py"
LONGEST_FILE = 450  # lines; past it a newcomer no longer reads the whole file before touching it
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "misc"}
CLOCK_CALLS = {
    *(f"time.{name}" for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")),
    *(f"{prefix}datetime.{name}" for prefix in ("", "datetime.") for name in ("now", "utcnow", "today")),
    "date.today",
    "datetime.date.today",
}
SQL = re.compile(
    r"(?:^|[\s(;])(?:"
    r"SELECT\s[^.]*?\sFROM\s+\w|SELECT\s+(?:pg_|count\(|nextval|set_config|\$1|1$)|INSERT\s+INTO\s+\w|UPDATE\s+[\w.\"]+\s+SET\s|"
    r"DELETE\s+FROM\s+\w|TRUNCATE\s+(?:TABLE\s+)?\w|(?:CREATE|ALTER|DROP)\s+(?:UNLOGGED\s+|TEMP\s+|UNIQUE\s+|OR\s+REPLACE\s+)*"
    r"(?:TABLE|INDEX|SCHEMA|ROLE|USER|DATABASE|FUNCTION|TYPE|VIEW)\s|(?:GRANT|REVOKE)\s+\w+.*\s(?:TO|FROM)\s|"
    r"(?:LISTEN|UNLISTEN|NOTIFY)\s+\w+|CHECKPOINT$|SET\s+(?:LOCAL\s+)?\w+\s*(?:=|TO)\s)",
    re.DOTALL,
)
REPLY = re.compile(r"[2345]\d\d[ -]")


def places(found: Iterator[tuple[Module, int, str]]) -> list[str]:
    return [f"{module.where}:{line}: {what}" for module, line, what in found]


def test_sql_stands_only_in_queries_files() -> None:
    def find() -> Iterator[tuple[Module, int, str]]:
        for module in modules():
            if module.path.name != "queries.py":
                yield from ((module, line, text.strip()[:80]) for line, text in module.texts() if SQL.search(text))

    assert places(find()) == []


def test_sql_pattern_knows_sql_from_imap() -> None:
    for text in (
        "SELECT a FROM b",
        "\n  INSERT INTO content VALUES",
        "UPDATE x.y SET a = 1",
        "LISTEN change",
        "SELECT 1",
    ):
        assert SQL.search(text), text
    for text in ("SELECT", "SELECT INBOX", "SELECT failed", "UPDATE", "DELETE folder", "CREATE", "NOTIFY", "FROM a"):
        assert not SQL.search(text), text


def test_only_the_clock_reads_a_clock() -> None:
    def find() -> Iterator[tuple[Module, int, str]]:
        for module in modules():
            if module.where == CLOCK:
                continue
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Attribute) and dotted(node) in CLOCK_CALLS:
                    yield module, node.lineno, dotted(node)
                elif isinstance(node, ast.ImportFrom) and node.module == "time":
                    yield from ((module, node.lineno, f"from time import {name.name}") for name in node.names)

    assert places(find()) == []


def test_nothing_is_printed() -> None:
    def find() -> Iterator[tuple[Module, int, str]]:
        for module in modules():
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Call) and dotted(node.func) == "print":
                    yield module, node.lineno, "print"

    assert places(find()) == []


def test_no_module_is_a_drawer() -> None:
    assert [module.where for module in modules() if FORBIDDEN_NAMES & set(module.name.split("."))] == []


def test_no_file_is_too_long_to_read() -> None:
    long = {module.where: module.text.count("\n") for module in modules() if module.text.count("\n") > LONGEST_FILE}
    assert long == {}


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(?:TODO|FIXME|XXX)\b|raise NotImplementedError")
    found = [
        f"{module.where}:{number}: {line.strip()}"
        for module in modules()
        for number, line in enumerate(module.text.splitlines(), 1)
        if later.search(line)
    ]
    assert found == []


def test_no_exception_is_swallowed() -> None:
    broad = {"Exception", "BaseException"}

    def find() -> Iterator[tuple[Module, int, str]]:
        for module in modules():
            for node in ast.walk(module.tree):
                if isinstance(node, ast.ExceptHandler):
                    silent = all(isinstance(step, ast.Pass | ast.Continue) for step in node.body)
                    named = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type] if node.type else []
                    if silent and (not named or broad & {dotted(name) for name in named}):
                        yield module, node.lineno, "except … pass"
                elif isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] == "suppress":
                    wide = broad & {dotted(argument) for argument in node.args}
                    yield from ((module, node.lineno, f"suppress({name})") for name in wide)

    assert places(find()) == []


def test_every_module_postpones_annotations() -> None:
    missing = []
    for module in modules():
        if not any(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.AnnAssign) for node in module.tree.body
        ):
            continue
        code = [n for n in module.tree.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
        first = code[0] if code else None
        if first and not (isinstance(first, ast.ImportFrom) and first.module == "__future__"):
            missing.append(module.where)
    assert missing == []


def test_smtp_reply_numbers_stand_in_one_table() -> None:
    def find() -> Iterator[tuple[Module, int, str]]:
        for module in modules():
            rooms = ("server/smtp/", "server/transport/")
            if module.where.startswith(rooms) and module.path.name != "reply_codes.py":
                yield from ((module, line, text[:60]) for line, text in module.texts() if REPLY.match(text))

    assert places(find()) == []


def test_every_limit_is_used() -> None:
    """A limit that nothing asks is a promise that nobody keeps."""
    names = {
        target.id
        for module in modules()
        if module.where == LIMITS
        for node in module.tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    used = {
        name
        for module in modules()
        for node in ast.walk(module.tree)
        for name in (
            (node.id,)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
            else (node.attr,)
            if isinstance(node, ast.Attribute)
            else ()
        )
    }
    assert sorted(names - used) == []


def imports(module: Module, known: set[str]) -> set[str]:
    """Modules of ours that this one imports when it is loaded (imports for type checking alone do not count)."""
    found: set[str] = set()
    waiting: list[ast.AST] = [module.tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and dotted(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {full if (full := f"{node.module}.{name.name}") in known else node.module for name in node.names}
        waiting += ast.iter_child_nodes(node)
    return found & known - {module.name}


def test_imports_have_no_cycle() -> None:
    known = {module.name for module in modules()}
    graph = {module.name: imports(module, known) for module in modules()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, "cycle: " + " → ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for neighbour in sorted(graph[name]):
                visit(neighbour, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_imports_are_absolute() -> None:
    found = [
        f"{module.where}:{node.lineno}"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert found == []
