"""The one guard against echoes: what the panel itself sets is not taken for a person's act."""


class Echo:
    """True inside of ``with echo:``, also where such blocks lie in one another.

    Qt tells of a changed widget in the same way, whoever changed it. A slot that begins with
    ``if self.echo: return`` hears only the person.
    """

    def __init__(self):
        """Hear everything."""
        self._depth = 0

    def __enter__(self):
        self._depth += 1
        return self

    def __exit__(self, *_error):
        self._depth -= 1

    def __bool__(self) -> bool:
        return self._depth > 0
