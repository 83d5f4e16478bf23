"""The parts of ./scripts/bench: the runs, the measurements, the comparisons and the report."""
