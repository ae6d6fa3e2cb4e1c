"""The role `identity`: the only one that talks to identity providers; edges ask it (server/identity/questions.py)."""
