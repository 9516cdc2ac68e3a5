"""What the command line can do, a function each; its docstring is its help, and it wires rooms together."""
