"""Models, sessions, the path of a photo, and the pool of isolated processes that walk it. Knows no Flask."""
