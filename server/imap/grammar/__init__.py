"""The grammar of IMAP4rev1 and IMAP4rev2: bytes in, typed values or `BadSyntax` out. No sockets, no clock, no store."""
