"""Command `remove`: photos from files, folders or stdin through the engines, without a server."""
