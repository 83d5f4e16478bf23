"""The servers and processes that the demo, the tests and the benchmark start on this machine."""
