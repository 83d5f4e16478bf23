"""What every endpoint shares: access, parsing, errors, headers, limits."""
