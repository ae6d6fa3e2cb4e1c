"""The message model, pure: one pass over the bytes gives a structure with offsets, and all that is read from it."""
