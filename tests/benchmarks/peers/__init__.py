"""What peers do where skdpal does something else; see `tests/benchmarks/peers/__main__.py`."""
