"""What the user can mend."""


class Problem(Exception):
    """Wrong input or state, told in one line: the place, what is wrong and the command that mends it."""
