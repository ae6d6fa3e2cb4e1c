"""One file a page of the site: it asks the rooms below, chooses a template, and holds no rule."""
