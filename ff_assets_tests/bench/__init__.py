"""How fast the project is beside three other ways to do the same work; `make bench` runs it."""
