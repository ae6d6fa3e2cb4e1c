"""`caducee mailbox migrate`: copies a mailbox from another operator's IMAP server.

`client.py` speaks to that server, `answers.py` reads what it says, `places.py` says where its folders go here,
`copier.py` copies and keeps how far it came, `command.py` is what the operator sees.
"""
