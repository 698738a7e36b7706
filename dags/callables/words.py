"""Callables of `mapping.yaml`."""


def words():
    """Return the words; a task below is expanded over them."""
    return ["one", "two", "three"]


def alone(word):
    """Return a word as the only argument of a function."""
    return [word]


def shout(word):
    """Return a word in capitals."""
    return word.upper()
