"""Reproducible measurements: `vs_rembg` beside rembg's server, `load` alone, `soak` endurance, `formats` quality."""
