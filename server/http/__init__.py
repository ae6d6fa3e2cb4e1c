"""HTTPS for whoever serves pages or an API: the bounded server, and the guard before every page."""
