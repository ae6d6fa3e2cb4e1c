"""The way of a message into mailboxes: envelope, policy, the one transaction that accepts, the local queue."""
