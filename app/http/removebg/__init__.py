"""remove.bg's dialect: its parameters, bodies, answers and errors, for the clients that exist."""
