"""Results kept for a while, so that the same photo with the same wishes is worked on once."""
