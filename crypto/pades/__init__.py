"""Signatures of PDF documents (PAdES, ETSI EN 319 142-1): made for prescriptions, judged on whatever arrives."""
