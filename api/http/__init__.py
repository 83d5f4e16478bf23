"""What every endpoint shares: access checks, parsing, errors, headers and limits."""
