"""The OpenAPI document of what is served now, and the page that shows it."""
