"""The life of mailbox keys while mail goes on: wrapped by newer bucket keys, turned, destroyed, taken out and back.

    renewal   new bucket keys and master; every mailbox's keys wrapped by them; what is left put aside
    turn      a new pair for one mailbox, its old messages brought under it
    destroy   one mailbox that nobody can ever read again, in no backup either
    export    what an old backup of the database needs to be read, and what a lost `keys/` is made again from

Each goes on where it was killed when it is asked for again: what is left to do is read from the database and the
keyring alone. All are for the database's owner, with the keyring.
"""
