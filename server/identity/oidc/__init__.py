"""A relying party of OpenID providers, sans-IO: what is asked, and what an answer is worth. It opens no socket."""
