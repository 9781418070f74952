"""Images from public URLs, without any connection to the server's own network."""
