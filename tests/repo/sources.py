"""The files of the repository as the rules see them: tracked files, and product modules with their syntax trees."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("server", "crypto", "directory")


@dataclass(frozen=True)
class Module:
    path: Path
    text: str
    tree: ast.Module

    @property
    def where(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def name(self) -> str:
        """Dotted name: server/base/clock.py is server.base.clock, a package's __init__ is the package."""
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def docstrings(self) -> set[int]:
        """Identities of the constant nodes that are docstrings."""
        found = set()
        for node in ast.walk(self.tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
                found.add(id(body[0].value))
        return found

    def texts(self) -> Iterator[tuple[int, str]]:
        """Line and text of each string or bytes constant that is no docstring."""
        skipped = self.docstrings()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Constant) and id(node) not in skipped:
                if isinstance(node.value, str):
                    yield node.lineno, node.value
                elif isinstance(node.value, bytes):
                    yield node.lineno, node.value.decode("latin-1")


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the product, whether committed yet or not."""
    files = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
    texts = [(file, file.read_text(encoding="utf-8")) for file in files]
    return tuple(Module(file, text, ast.parse(text, str(file))) for file, text in texts)


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that git tracks and that exists."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return tuple(path for name in listing.split("\0") if name and (path := ROOT / name).is_file())


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an attribute chain, else an empty text."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (left := dotted(node.value)):
        return f"{left}.{node.attr}"
    return ""
