"""What the reader refuses with."""


class Refused(Exception):
    """Bytes that are not what docs/FORMAT.md demands of a part of the file."""

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(f"{part}: {reason}")
        self.part = part


class Inauthentic(Refused):
    """A sector that does not open: torn by a loss of power, or altered."""
