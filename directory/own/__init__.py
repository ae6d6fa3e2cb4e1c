"""The operator's own mailboxes in the directory: published, withdrawn, told to the national one."""
