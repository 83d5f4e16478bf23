"""HTTP: checks the request, asks a use case, answers."""
