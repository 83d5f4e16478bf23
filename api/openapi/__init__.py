"""The API's documentation, generated from its declarations."""
