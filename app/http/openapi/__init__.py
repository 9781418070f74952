"""Description of the API: an OpenAPI 3.1 document and an HTML page, from the tables that parse requests."""
