"""The index of the directory: the words of everything that can be found, and the statements that make and ask it."""
