"""Professionals, organisations and their mailboxes: knows PostgreSQL, knows no mail."""
