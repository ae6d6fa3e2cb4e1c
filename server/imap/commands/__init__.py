"""The commands, a module for each state in which they become legal (RFC 9051 §6.1-6.4); `table.py` lists them all."""
