"""The way out: the queue worked off towards other operators, by the role `sender` alone."""
