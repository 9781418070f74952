"""Everything that knows Flask's request and response; one blueprint per dialect."""
