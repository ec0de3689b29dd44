"""The one exception that people meet: a single line that says what is wrong, where, and what to do."""


class VkitError(Exception):
    """Bad input or an impossible request, told in one line.

    The command line prints it as it is and exits with 1; in a program it is an ordinary exception.
    """
