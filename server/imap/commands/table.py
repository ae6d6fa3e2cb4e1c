"""The table of all commands. Adding one: a parser and a handler in the module of its state, and a row here."""

from __future__ import annotations

from server.imap.command import ANY, NOT_AUTHENTICATED, SELECTED, SIGNED_IN, Verb, bare, named
from server.imap.commands import (
    acl,
    append,
    auth,
    compress,
    enable,
    fetch,
    folders,
    listing,
    metadata,
    multisearch,
    nonauth,
    notify,
    quota,
    replace,
    search,
    select,
    selected,
    sort,
    unauthenticate,
    urlauth,
)
from server.imap.commands import any as anywhere
from server.imap.grammar.notify import parse_notify
from server.imap.grammar.search import search as parse_search
from server.imap.grammar.sort import sort as parse_sort
from server.imap.grammar.sort import thread as parse_thread

_ROWS = (
    # RFC 9051 §6.1, any state
    Verb("CAPABILITY", ANY, bare, anywhere.capability),
    Verb("NOOP", ANY, bare, anywhere.noop, refresh=True),
    Verb("LOGOUT", ANY, bare, anywhere.logout),
    Verb("ID", ANY, anywhere.parse_id, anywhere.identify),
    # §6.2, not authenticated
    Verb("STARTTLS", NOT_AUTHENTICATED, bare, nonauth.starttls),
    Verb("LOGIN", NOT_AUTHENTICATED, nonauth.parse_login, nonauth.login),
    Verb("AUTHENTICATE", NOT_AUTHENTICATED, nonauth.parse_authenticate, nonauth.authenticate),
    # §6.3, authenticated and selected
    Verb("ENABLE", SIGNED_IN, enable.parse_enable, enable.enable),
    Verb("COMPRESS", SIGNED_IN, compress.parse_compress, compress.compress),
    Verb("UNAUTHENTICATE", SIGNED_IN, bare, unauthenticate.unauthenticate),
    Verb("SELECT", SIGNED_IN, select.parse_select, select.select),
    Verb("EXAMINE", SIGNED_IN, select.parse_select, select.examine),
    Verb("CREATE", SIGNED_IN, folders.parse_create, folders.create, changes=True),
    Verb("DELETE", SIGNED_IN, named, folders.delete, changes=True),
    Verb("RENAME", SIGNED_IN, folders.parse_rename, folders.rename, changes=True),
    Verb("SUBSCRIBE", SIGNED_IN, named, folders.subscribe, changes=True),
    Verb("UNSUBSCRIBE", SIGNED_IN, named, folders.unsubscribe, changes=True),
    Verb("LIST", SIGNED_IN, listing.parse_list, listing.list_),
    Verb("LSUB", SIGNED_IN, listing.parse_lsub, listing.lsub),
    Verb("NAMESPACE", SIGNED_IN, bare, auth.namespace),
    Verb("STATUS", SIGNED_IN, auth.parse_status, auth.status),
    Verb("APPEND", SIGNED_IN, append.parse_append, append.append, big=True, changes=True),
    Verb("GETQUOTA", SIGNED_IN, quota.parse_root, quota.get_quota),
    Verb("GETQUOTAROOT", SIGNED_IN, named, quota.get_quota_root),
    Verb("SETQUOTA", SIGNED_IN, quota.parse_set, quota.set_quota),
    Verb("GETMETADATA", SIGNED_IN, metadata.parse_get, metadata.get_metadata),
    Verb("SETMETADATA", SIGNED_IN, metadata.parse_set, metadata.set_metadata),
    Verb("MYRIGHTS", SIGNED_IN, named, acl.my_rights),
    Verb("GETACL", SIGNED_IN, named, acl.get_acl),
    Verb("LISTRIGHTS", SIGNED_IN, acl.parse_person, acl.list_rights),
    Verb("SETACL", SIGNED_IN, acl.parse_set, acl.set_acl),
    Verb("DELETEACL", SIGNED_IN, acl.parse_person, acl.delete_acl),
    Verb("ESEARCH", SIGNED_IN, multisearch.parse_multisearch, multisearch.multisearch),
    Verb("GENURLAUTH", SIGNED_IN, urlauth.parse_generate, urlauth.generate),
    Verb("RESETKEY", SIGNED_IN, urlauth.parse_reset, urlauth.reset, changes=True),
    Verb("URLFETCH", SIGNED_IN, urlauth.parse_fetch, urlauth.fetch),
    Verb("IDLE", SIGNED_IN, bare, auth.idle, refresh=True),
    Verb("NOTIFY", SIGNED_IN, parse_notify, notify.notify, refresh=True),
    # §6.4, selected
    Verb("CHECK", SELECTED, bare, selected.check, refresh=True),
    Verb("CLOSE", SELECTED, bare, selected.close),
    Verb("UNSELECT", SELECTED, bare, selected.unselect),
    Verb("EXPUNGE", SELECTED, bare, selected.expunge),
    Verb("SEARCH", SELECTED, parse_search, search.search, expunge=False),
    Verb("CANCELUPDATE", SELECTED, search.parse_cancel_update, search.cancel_update),
    Verb("SORT", SELECTED, parse_sort, sort.sort, expunge=False),
    Verb("THREAD", SELECTED, parse_thread, sort.thread, expunge=False),
    Verb("FETCH", SELECTED, fetch.parse_fetch, fetch.fetch, expunge=False),
    Verb("STORE", SELECTED, selected.parse_store, selected.store, expunge=False),
    Verb("COPY", SELECTED, selected.parse_copy, selected.copy, changes=True),
    Verb("MOVE", SELECTED, selected.parse_copy, selected.move),
    Verb("REPLACE", SELECTED, replace.parse_replace, replace.replace, big=True, changes=True),
    # UID forms name messages by uid, so that EXPUNGE confuses nobody (RFC 9051 §7.5.1)
    Verb("UID EXPUNGE", SELECTED, selected.parse_messages, selected.uid_expunge),
    Verb("UID SEARCH", SELECTED, parse_search, search.uid_search),
    Verb("UID SORT", SELECTED, parse_sort, sort.uid_sort),
    Verb("UID THREAD", SELECTED, parse_thread, sort.uid_thread),
    Verb("UID FETCH", SELECTED, fetch.parse_fetch, fetch.uid_fetch),
    Verb("UID STORE", SELECTED, selected.parse_store, selected.uid_store),
    Verb("UID COPY", SELECTED, selected.parse_copy, selected.uid_copy, changes=True),
    Verb("UID REPLACE", SELECTED, replace.parse_replace, replace.uid_replace, big=True, changes=True),
    Verb("UID MOVE", SELECTED, selected.parse_copy, selected.uid_move),
)
VERBS: dict[str, Verb] = {verb.name: verb for verb in _ROWS}
