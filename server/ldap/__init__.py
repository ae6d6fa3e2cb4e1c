"""The LDAP edge: read-only, anonymous, in the grammar of RFC 4511; for now it serves the root DSE."""
