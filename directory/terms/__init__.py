"""Code tables of the national nomenclature: what was read of them, with its source and date."""
