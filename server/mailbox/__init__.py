"""The store: owners, folders, messages, flags, content, change log and feed, invariants."""
