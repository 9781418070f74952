"""HTTP side of the service: all code that uses Flask, with one blueprint per dialect."""
