"""The trail: append-only, one function per event, sealed so that who writes it cannot read it."""
