"""Reproducible measurements: `vs_rembg` comparison with rembg's server, `load`, `soak` endurance, `formats` quality."""
