"""Options of a removal, parsed from the text of a request or a preset."""
