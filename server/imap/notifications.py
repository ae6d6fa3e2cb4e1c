"""What a session is told by itself (NOTIFY, RFC 5465): of what is selected, of other mailboxes, of the list of them.

The feed marks what may have changed and wakes the connection; `tell` then asks the store, compares with what the client
knows, and tells the difference, so that a hundred deliveries between two turns are one STATUS. One specifier affects a
mailbox: the first that names it (§6); what is selected follows SELECTED alone. Past IMAP_NOTIFY_FOLDERS the session is
told NOTIFICATIONOVERFLOW and nothing more (§5.8).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from server.base.limits import IMAP_NOTIFY_FOLDERS
from server.imap.commands.auth import write_status
from server.imap.commands.listing import tell_place
from server.imap.commands.metadata import reader
from server.imap.grammar import names, write
from server.imap.grammar.notify import METADATA_EVENTS, SELECTED, Group, Where
from server.imap.responses import Declined
from server.mailbox.model import INBOX_ID, LIST_ID, Folder, FolderState

if TYPE_CHECKING:
    from server.imap.session import Session
    from server.mailbox.beside.annotation import Annotations

_ITEMS = ("MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN")


class Notifications:
    def __init__(self, session: Session, groups: Iterable[Group]) -> None:
        self._session = session
        self.selected = next((group for group in groups if group.where in SELECTED and group.messages), None)
        self._groups = [(group, self._named(group)) for group in groups if group.where not in SELECTED]
        self._folders: dict[int, Folder] = {}
        self._states: dict[int, FolderState] = {}  # as the client knows them
        self._watched: dict[int, Callable[[], None]] = {}
        self._changed: set[int] = set()
        self._annotations: Annotations = {}  # as the client knows them, where it asked for their events
        self._own: set[str] = set()  # names that this session itself just changed

    @property
    def immediate(self) -> bool:
        """Whether EXPUNGE may be told at any time: the client gave up numbers in its commands (RFC 5465 §5.3)."""
        return self.selected is not None and self.selected.where is Where.SELECTED

    async def start(self, status: bool) -> None:
        """Watch, and with `status` tell where each mailbox stands. Raises Declined(NOTIFICATIONOVERFLOW)."""
        self._watch(LIST_ID)
        folders = await self._session.mailbox.folders()
        self._folders = {folder.folder_id: folder for folder in folders}
        if not self._follow():
            raise Declined(b"NOTIFICATIONOVERFLOW", "Too many mailboxes to watch")
        self._states = await self._session.mailbox.states(self._messages_of())
        self._annotations = await self._read_annotations()
        if status:
            for folder_id in self._messages_of():
                self._tell_status(folder_id)

    def close(self) -> None:
        """Watch nothing any more; safe to call twice."""
        for unwatch in self._watched.values():
            unwatch()
        self._watched.clear()
        self._changed.clear()

    def own_change(self, *changed: str) -> None:
        """RFC 5465 §5: the client knows what it did itself to the list of mailboxes, or wrote of one."""
        self._own.update(changed)
        self._changed.add(LIST_ID)

    async def tell(self) -> None:
        """What happened since. To be called between commands."""
        changed, self._changed = self._changed, set()
        if LIST_ID in changed:
            await self._tell_list()
            # What a mailbox that is new to the client holds already.
            changed |= set(self._messages_of()) - self._states.keys()
        asked = [folder_id for folder_id in self._messages_of() if folder_id in changed and folder_id in self._watched]
        if not asked:
            return
        states = await self._session.mailbox.states(asked)
        for folder_id in asked:
            before, now = self._states.get(folder_id), states.get(folder_id)
            if now is None:
                continue
            self._states[folder_id] = now
            group = self._group_of(self._folders[folder_id])
            if group is not None and not self._is_selected(folder_id) and _differs(before, now, group):
                self._tell_status(folder_id)
        await self._session.drain()

    # --- mailboxes --------------------------------------------------------------------------------------------
    def _named(self, group: Group) -> tuple[str, ...]:
        return tuple(self._session.name(name) for name in group.names)

    def _group_of(self, folder: Folder) -> Group | None:
        """The first group that names the folder."""
        return next((group for group, wanted in self._groups if _concerns(group, wanted, folder)), None)

    def _messages_of(self) -> list[int]:
        """The folders of which events of messages are asked for."""
        groups = ((folder_id, self._group_of(folder)) for folder_id, folder in self._folders.items())
        return [folder_id for folder_id, group in groups if group is not None and group.messages]

    def _is_selected(self, folder_id: int) -> bool:
        selected = self._session.selected
        return selected is not None and selected.folder.folder_id == folder_id

    def _watch(self, folder_id: int) -> None:
        def mark() -> None:
            self._changed.add(folder_id)
            if self._session.wake is not None:
                self._session.wake()

        owner_id = self._session.mailbox.owner_id
        self._watched[folder_id] = self._session.services.views.feed.watch(owner_id, folder_id, mark)

    def _follow(self) -> bool:
        """Watch what is to be watched now; False when that is too much, and nothing is watched any more."""
        wanted = {LIST_ID, *self._messages_of()}
        if len(wanted) > IMAP_NOTIFY_FOLDERS:
            self.close()
            return False
        for folder_id in self._watched.keys() - wanted:
            self._watched.pop(folder_id)()
        for folder_id in wanted - self._watched.keys():
            self._watch(folder_id)
        return True

    # --- telling ----------------------------------------------------------------------------------------------
    def _tell_status(self, folder_id: int) -> None:
        folder, state = self._folders[folder_id], self._states.get(folder_id)
        group = self._group_of(folder)
        if state is None or group is None:
            return
        # RFC 5465 §5.1: of changed flags the modseq tells.
        flags = "FLAGCHANGE" in group.events or self._session.condstore
        items = (*_ITEMS, "HIGHESTMODSEQ") if flags else _ITEMS
        write_status(self._session, folder, state, items, {})

    async def _tell_list(self) -> None:
        """RFC 5465 §5.4, §5.5"""
        session, before, own = self._session, self._folders, self._own
        folders = await session.mailbox.folders()
        self._folders, self._own = {folder.folder_id: folder for folder in folders}, set()
        taken = {folder.name: folder.folder_id for folder in folders}
        for folder_id, folder in list(before.items()):
            # A name that another mailbox has by now cannot be an OLDNAME: whoever had it is told as gone, and as new.
            if folder_id not in self._folders or taken.get(folder.name, folder_id) != folder_id:
                del before[folder_id]
                self._states.pop(folder_id, None)
                if self._asks("MAILBOXNAME", folder) and not _is_own(folder.name, own):
                    name = session.written_name(folder.name)
                    session.line(b'LIST (\\NonExistent) "%s" %s' % (names.DELIMITER.encode(), name))
        for folder in folders:
            old = before.get(folder.folder_id)
            renamed = old is not None and old.name != folder.name
            news = self._asks("MAILBOXNAME", folder) and (old is None or renamed)
            subscription = self._asks("SUBSCRIPTIONCHANGE", folder)
            news |= subscription and old is not None and old.subscribed != folder.subscribed
            if news and not _is_own(folder.name, own):
                asked = session.encoded_name(old.name) if old is not None and renamed else None
                tell_place(session, folders, folder, asked, subscribed=subscription)
        await self._tell_annotations(own)
        if not self._follow():
            session.notifications = None
            session.ok("Too many mailboxes to watch", b"NOTIFICATIONOVERFLOW")

    async def _read_annotations(self) -> Annotations:
        if all(group.events.isdisjoint(METADATA_EVENTS) for group, _ in self._groups):
            return {}
        return await self._session.mailbox.annotations(reader(self._session))

    async def _tell_annotations(self, own: set[str]) -> None:
        """RFC 5465 §5.6, §5.7: which entries changed, without their values (RFC 5464 §4.4.2)."""
        session, before = self._session, self._annotations
        now = self._annotations = await self._read_annotations()
        for folder_id in sorted(before.keys() | now.keys(), key=lambda number: number or LIST_ID):
            old, new = before.get(folder_id, {}), now.get(folder_id, {})
            changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
            folder = None if folder_id is None else self._folders.get(folder_id)
            if folder_id is None:
                place, asked = "", any("SERVERMETADATACHANGE" in group.events for group, _ in self._groups)
            elif folder is not None:
                place, asked = folder.name, self._asks("MAILBOXMETADATACHANGE", folder)
            else:
                continue  # it went with its folder
            if changed and asked and not _is_own(place, own):
                entries = b" ".join(write.astring(name.encode()) for name in changed)
                session.line(b"METADATA %s %s" % (session.written_name(place) if place else b'""', entries))

    def _asks(self, event: str, folder: Folder) -> bool:
        group = self._group_of(folder)
        return group is not None and event in group.events


def _concerns(group: Group, wanted: tuple[str, ...], folder: Folder) -> bool:
    match group.where:
        case Where.PERSONAL:
            return True
        case Where.INBOXES:
            return folder.folder_id == INBOX_ID
        case Where.SUBSCRIBED:
            return folder.subscribed
        case Where.SUBTREE:
            return any(_below(folder.name, name) for name in wanted)
        case _:
            return folder.name in wanted


def _below(name: str, top: str) -> bool:
    return name == top or name.startswith(top + names.DELIMITER)


def _is_own(name: str, own: set[str]) -> bool:
    return any(_below(name, top) for top in own)


def _differs(before: FolderState | None, now: FolderState, group: Group) -> bool:
    if before is None:
        return now.uidnext > 1
    if "FLAGCHANGE" in group.events:
        return before.highestmodseq != now.highestmodseq
    return (before.uidnext, before.messages) != (now.uidnext, now.messages)
