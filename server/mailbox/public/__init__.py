"""What of a mailbox is public: its entry in the directory, never anything of what is in it."""
