"""The API's description: an OpenAPI 3.1 document and a page for people, from the data that requests are read by."""
