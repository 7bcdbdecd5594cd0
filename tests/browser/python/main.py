"""A typed function that the page calls from another origin."""


def add(a: int, b: int) -> int:
    return a + b
