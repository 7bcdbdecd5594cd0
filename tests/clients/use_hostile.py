"""Calls functions whose names are no identifiers. Importing the module has run no code of theirs."""

import sys

from hostile import Client

with Client(sys.argv[1]) as hostile:
    assert hostile.a_b("first") == "a_b"
    assert hostile.def_("first") == "def"
    assert hostile.list("first") == "list"
    assert hostile.int_("first") == "int"
    assert hostile._1st("first") == "1st"
    assert hostile.only0() == "only0"
print("all is well")
