"""The fault table: rows by subject, and the small robot that each of them runs. See `benchmarks/faults.py`."""
