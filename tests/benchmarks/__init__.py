"""How fast merclip is, beside its peers and beside what the machine can do.

    python tests/benchmarks/run.py [--quick] [--only NAME ...] [--rounds N] [--out FOLDER]

needs the extra ``bench``. docs/speed.md says how to read what it writes.
"""
