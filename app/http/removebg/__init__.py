"""remove.bg's dialect: parameters, bodies, answers and errors, for its existing clients."""
