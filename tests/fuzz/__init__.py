"""Parsers fed with what nobody meant: `python -m tests.fuzz [--seconds 600] [NAME ...]`, docs/hostile-input.md.

A harness (`harnesses.py`) is a function of bytes that ends quietly when the parser refuses in its own words, and raises otherwise.
What was found stands in `found/NAME/`, and every ordinary run tries it again (`test_fuzz.py`).
"""
