"""The API's own documentation, made from its declarations."""
