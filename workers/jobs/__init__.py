"""The jobs that RQ runs. Their arguments are ids, nothing secret."""
