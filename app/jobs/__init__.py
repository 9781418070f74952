"""Jobs: many photos in one request, processed in the background; no Flask."""
