"""The servers and processes that demo, tests and benchmark start on this machine."""
