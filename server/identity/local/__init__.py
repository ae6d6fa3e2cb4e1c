"""Local accounts of patients (a provisional code, then a passkey, or a password with one-time codes), and the browsers
of all holders.

Every row that opens something is bound to its owner under an edge secret (`seal.py`).
"""
