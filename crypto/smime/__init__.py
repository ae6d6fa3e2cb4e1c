"""Signed messages: making a signature, checking one, and the verdict."""
