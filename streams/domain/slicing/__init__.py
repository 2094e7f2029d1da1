"""Orders that are sent in slices: when how much is due, and the parent that its children make."""
