"""The directory as LDAP shows it: entries, names, filters, searches (RFC 4511–4519). No sockets, no sign-in."""
