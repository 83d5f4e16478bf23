"""What RQ runs: ids in, nothing secret."""
