"""Threads of messages: ORDEREDSUBJECT and REFERENCES, step by step as RFC 5256 tells them. Pure.

A reference chain may be as long as the mailbox is large: nothing here recurses, and no step is quadratic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from server.imap.sorting import sent

_NO_ID = "-"
_DEEPEST = 1_000  # ancestors looked at when a link may make a loop; a discussion has some tens


@dataclass(frozen=True, slots=True)
class Threaded:
    """What a message brings; `place` breaks ties, `sent` is in seconds."""

    number: int
    place: int
    sent: int
    base: str
    answers: bool  # a reply or a forward
    own_id: str  # "" for none
    references: tuple[str, ...]

    @classmethod
    def of(cls, number: int, uid: int, internal: int, moment: str, base: str, ids: str) -> Threaded:
        own, *references = ids.split(" ")
        own = "" if own == _NO_ID else own
        return cls(number, uid, sent(internal, moment), base[1:], base.startswith("R"), own, tuple(references))


class Node:
    """A message in its thread; a dummy has none."""

    __slots__ = ("children", "is_parent", "message", "parent")

    def __init__(self, message: Threaded | None = None) -> None:
        self.message = message
        self.parent: Node | None = None
        self.is_parent = False  # somebody was linked below it
        self.children: list[Node] = []  # filled when all links are made

    def link(self, child: Node) -> None:
        """Become the parent of a node, unless that made a loop."""
        if not (child.is_parent and _is_below(self, child)) and self is not child:
            child.parent, self.is_parent = self, True

    @property
    def first(self) -> Threaded:
        """The message, of a dummy that of its first child (a dummy has children, and all of them are messages)."""
        return self.message or self.children[0].first


def ordered_subject(messages: Sequence[Threaded]) -> list[Node]:
    """Threads of one base subject each: the oldest message, with all the others below it."""
    threads: dict[str, Node] = {}
    for message in sorted(messages, key=_age):
        root = threads.get(message.base)
        if root is None:
            threads[message.base] = Node(message)
        else:
            root.children.append(Node(message))
    return list(threads.values())


def references(messages: Sequence[Threaded]) -> list[Node]:
    roots = _prune(_link(messages))
    for root in roots:
        if root.message is None:
            root.children.sort(key=_node_age)
    roots.sort(key=_node_age)  # step 4
    roots = _gather(roots)
    _sort(roots)
    return roots


def _age(message: Threaded) -> tuple[int, int]:
    return message.sent, message.place


def _node_age(node: Node) -> tuple[int, int]:
    return _age(node.first)


def _link(messages: Sequence[Threaded]) -> list[Node]:
    """Steps 1 and 2: parents by references, and the nodes without one."""
    nodes: dict[str, Node] = {}
    own: list[Node] = []
    for message in messages:
        # Without an identifier, or with one that was seen: one that nobody refers to (no identifier holds a space).
        unique = message.own_id if message.own_id and message.own_id not in nodes else f" {len(own)}"
        nodes[unique] = node = Node(message)
        own.append(node)
    for node, message in zip(own, messages, strict=True):
        last: Node | None = None
        for reference in message.references:
            referred = nodes.setdefault(reference, Node())
            if last is not None and referred.parent is None:
                last.link(referred)
            last = referred
        node.parent = None
        if last is not None:
            last.link(node)
    for node in nodes.values():
        if node.parent is not None:
            node.parent.children.append(node)
    return [node for node in nodes.values() if node.parent is None]


def _is_below(node: Node, ancestor: Node) -> bool:
    """Whether `node` is below `ancestor`, or so deep that it is not worth knowing (then no link is made)."""
    at: Node | None = node
    for _ in range(_DEEPEST):
        if at is ancestor:
            return True
        if at is None:
            return False
        at = at.parent
    return True


def _prune(roots: list[Node]) -> list[Node]:
    """Step 3: dummies go; their children take their place, but under the root only a single child does."""
    kept: list[Node] = []
    for root in roots:
        below, root.children = root.children, []
        waiting = [(child, root) for child in reversed(below)]
        while waiting:
            node, nearest = waiting.pop()
            below, node.children = node.children, []
            if node.message is not None:
                nearest.children.append(node)
                nearest = node
            waiting += [(child, nearest) for child in reversed(below)]
        kept += [root] if root.message is not None or len(root.children) > 1 else root.children
    return kept


def _bottom_up(roots: Sequence[Node]) -> list[Node]:
    """All nodes, children before their parents."""
    found, waiting = [], list(roots)
    while waiting:
        node = waiting.pop()
        found.append(node)
        waiting += node.children
    return found[::-1]


def _gather(roots: list[Node]) -> list[Node]:
    """Step 5: threads with the same base subject become one."""
    table: dict[str, int] = {}  # subject → place among the roots
    subjects = [node.first.base for node in roots]
    for place, (node, subject) in enumerate(zip(roots, subjects, strict=True)):
        known = roots[table[subject]] if subject in table else None
        if known is None or (known.message is not None and (node.message is None or _is_original(node, known))):
            table[subject] = place
    gathered: list[Node | None] = list(roots)
    for place, (node, subject) in enumerate(zip(roots, subjects, strict=True)):
        known = gathered[table[subject]]
        # A thread without a subject stays alone.
        if not subject or table[subject] == place or known is None:
            continue
        gathered[place] = None
        if known.message is None:
            known.children += [node] if node.message is not None else node.children
        elif node.message is not None and node.message.answers and not known.message.answers:
            known.children.append(node)
        else:
            dummy = gathered[table[subject]] = Node()
            dummy.children = [known, node]
    return [node for node in gathered if node is not None]


def _is_original(node: Node, known: Node) -> bool:
    """The one in the table is a reply or forward, and the other is not."""
    return known.message is not None and known.message.answers and node.message is not None and not node.message.answers


def _sort(roots: list[Node]) -> None:
    """Step 6: siblings by age, the youngest set first."""
    for node in _bottom_up(roots):
        node.children.sort(key=_node_age)
    roots.sort(key=_node_age)


THREADERS: dict[str, Callable[[Sequence[Threaded]], list[Node]]] = {
    "ORDEREDSUBJECT": ordered_subject,
    "REFERENCES": references,
}


def render(roots: Sequence[Node]) -> bytes:
    """thread-list = "(" (thread-members / thread-nested) ")", where a line of single children is written in one."""
    out: list[bytes] = []
    waiting: list[Node | bytes] = [*reversed(roots)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, bytes):
            out.append(node)
            continue
        members = [] if node.message is None else [b"%d" % node.message.number]
        while node.message is not None and len(node.children) == 1:
            node = node.children[0]
            assert node.message is not None  # noqa: S101 -- dummies are roots
            members.append(b"%d" % node.message.number)
        out.append(b"(" + b" ".join(members))
        if node.children and members:
            out.append(b" ")
        waiting.append(b")")
        waiting += reversed(node.children)
    return b"".join(out)
