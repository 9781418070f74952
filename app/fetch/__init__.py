"""Images from public URLs and webhooks to them, without any connection to the server's own network."""
