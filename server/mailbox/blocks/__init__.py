"""View blocks: what a search reads of a thousand messages at once instead of opening each (docs/decisions/022)."""
