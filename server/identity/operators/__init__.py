"""The operator's own people: their accounts and sessions, and what takes two of them (docs/decisions, 038)."""
