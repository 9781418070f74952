"""Web page at `/`: its files and its configuration."""
