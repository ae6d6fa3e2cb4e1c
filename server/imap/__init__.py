"""The IMAP edge: grammar (sans-IO), typed commands by state, one view of a folder for all sessions of a worker."""
