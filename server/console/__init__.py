"""The console of the operator's own people: pages by role; no keyring, a database user that reads no content."""
