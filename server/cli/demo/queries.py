"""The statements of the demo: a row written in clear, so that the search for clear text is known to find one."""

from __future__ import annotations

# A statement cannot take a parameter here (CREATE TABLE AS is no query); the text is a constant of ours.
WRITE_CONTROL = "CREATE TABLE public.demo_control AS SELECT '{control}'::text AS text"
# What is in memory alone would not be found on disk.
FLUSH = "CHECKPOINT"
