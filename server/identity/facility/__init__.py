"""Facilities: organisations that sign their people in themselves, and whose server then asks for a token for each."""
