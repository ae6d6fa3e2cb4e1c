"""What a folder has beside its messages: annotations, and the key of its URLs."""
