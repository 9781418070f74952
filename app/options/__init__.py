"""Options of a removal: from the text of a request, a preset or a command line to checked values."""
