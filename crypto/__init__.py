"""Bytes and keys: knows no mail store, no database, no web."""
