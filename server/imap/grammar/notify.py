"""What NOTIFY asks: groups of mailboxes, and for each the events that are to be told (RFC 5465 §8)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from server.base.limits import IMAP_NOTIFY_GROUPS, IMAP_NOTIFY_NAMES
from server.imap.grammar.cursor import BadSyntax, Cursor
from server.imap.grammar.fetch import Attribute, fetch_attributes


class Where(Enum):
    SELECTED = "SELECTED"
    DELAYED = "SELECTED-DELAYED"
    INBOXES = "INBOXES"
    PERSONAL = "PERSONAL"
    SUBSCRIBED = "SUBSCRIBED"
    SUBTREE = "SUBTREE"
    MAILBOXES = "MAILBOXES"


SELECTED = (Where.SELECTED, Where.DELAYED)
_MESSAGE_EVENTS = frozenset({"MESSAGENEW", "MESSAGEEXPUNGE", "FLAGCHANGE"})
# Events as they are written to a client that asked for another.
EVENTS = {
    "MESSAGENEW": b"MessageNew",
    "MESSAGEEXPUNGE": b"MessageExpunge",
    "FLAGCHANGE": b"FlagChange",
    "MAILBOXNAME": b"MailboxName",
    "SUBSCRIPTIONCHANGE": b"SubscriptionChange",
    "MAILBOXMETADATACHANGE": b"MailboxMetadataChange",
    "SERVERMETADATACHANGE": b"ServerMetadataChange",
}
METADATA_EVENTS = frozenset({"MAILBOXMETADATACHANGE", "SERVERMETADATACHANGE"})


@dataclass(frozen=True, slots=True)
class Group:
    """`names` of SUBTREE and MAILBOXES; no events means NONE. `fetch` is what MessageNew tells of a message."""

    where: Where
    names: tuple[bytes, ...]
    events: frozenset[str]
    fetch: tuple[Attribute, ...] = ()

    @property
    def messages(self) -> bool:
        return not self.events.isdisjoint(_MESSAGE_EVENTS)


@dataclass(frozen=True, slots=True)
class Notify:
    """`groups` empty: NONE. `unknown` holds events that are not told here."""

    groups: tuple[Group, ...] = ()
    status: bool = False
    unknown: frozenset[str] = field(default_factory=frozenset)


def parse_notify(cursor: Cursor) -> Notify:
    """notify = "NOTIFY" SP ("SET" [SP "STATUS"] SP event-groups / "NONE")"""
    cursor.sp()
    word = cursor.word("SET or NONE")
    if word == "NONE":
        return Notify()
    if word != "SET":
        raise BadSyntax("Expected SET or NONE")
    cursor.sp()
    status = not cursor.peek(b"(")
    if status:
        if cursor.word("STATUS") != "STATUS":
            raise BadSyntax("Expected STATUS")
        cursor.sp()
    unknown: set[str] = set()
    groups = [_group(cursor, unknown)]
    while cursor.take(b" "):
        groups.append(_group(cursor, unknown))
        if len(groups) > IMAP_NOTIFY_GROUPS:
            raise BadSyntax("Too many event groups")
    # RFC 5465 §6.1
    if sum(group.where in SELECTED for group in groups) > 1:
        raise BadSyntax("SELECTED and SELECTED-DELAYED exclude each other")
    return Notify(tuple(groups), status, frozenset(unknown))


def _group(cursor: Cursor, unknown: set[str]) -> Group:
    # event-group = "(" filter-mailboxes SP events ")"
    cursor.open()
    try:
        where = Where(cursor.word("a mailbox specifier"))
    except ValueError:
        raise BadSyntax("Unknown mailbox specifier") from None
    cursor.sp()
    names: tuple[bytes, ...] = ()
    if where in (Where.SUBTREE, Where.MAILBOXES):
        names = mailboxes(cursor)
        cursor.sp()
    events: list[str] = []
    fetch: tuple[Attribute, ...] = ()
    if cursor.peek(b"("):
        cursor.open()
        while True:
            event = cursor.word("an event")
            events.append(event)
            if event == "MESSAGENEW" and cursor.take(b" ("):
                cursor.at -= 1
                fetch = fetch_attributes(cursor)
            if event not in EVENTS:
                unknown.add(event)
            if not cursor.take(b" "):
                break
        cursor.close()
    elif cursor.word("events or NONE") != "NONE":
        raise BadSyntax("Expected a list of events or NONE")
    cursor.close()
    group = Group(where, names, frozenset(events), fetch)
    _check(group)
    return group


def mailboxes(cursor: Cursor) -> tuple[bytes, ...]:
    """one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")" """
    if not cursor.peek(b"("):
        return (cursor.astring("a mailbox name"),)
    cursor.open()
    names = [cursor.astring("a mailbox name")]
    while cursor.take(b" "):
        names.append(cursor.astring("a mailbox name"))
        if len(names) > IMAP_NOTIFY_NAMES:
            raise BadSyntax("Too many mailbox names")
    cursor.close()
    return tuple(names)


def _check(group: Group) -> None:
    events = group.events
    # RFC 5465 §5
    if ("MESSAGENEW" in events) != ("MESSAGEEXPUNGE" in events):
        raise BadSyntax("MessageNew and MessageExpunge go together")
    if events & {"FLAGCHANGE", "ANNOTATIONCHANGE"} and "MESSAGENEW" not in events:
        raise BadSyntax("FlagChange needs MessageNew and MessageExpunge")
    if group.where in SELECTED:
        # RFC 5465 §6.1
        if events & EVENTS.keys() - _MESSAGE_EVENTS:
            raise BadSyntax("Only events of messages can be told of what is selected")
    elif group.fetch:
        # RFC 5465 §8
        raise BadSyntax("Only of what is selected can attributes be told")
