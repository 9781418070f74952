"""Cache of results: the same photo with the same options is processed once."""
