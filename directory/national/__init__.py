"""The files that the national directory publishes: read, compared with the last ones, brought into the tables."""
