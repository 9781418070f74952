"""Images from addresses on the internet, without ever reaching into the network that this server stands in."""
