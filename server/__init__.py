"""The mail server and the health record: a ladder of rooms, see docs/architecture.md."""
