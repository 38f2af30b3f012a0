"""Hostile and odd requests from a file, against a real server with two people's records in it: `make attacks CASES=FILE`.

`cases` reads the file, `seeding` writes the records through the gate, `stand` serves them, `placeholders` and `credentials` say what a
name in a case stands for, `generators` makes long bodies, `wire` sends to the byte, `checking` judges, `running` does it in order.
docs/attacks.md
"""
