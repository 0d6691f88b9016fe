"""Secrets of a Colab user, of which there are none."""


class SecretNotFoundError(Exception):
    """Raised for every name."""


def get(key: str) -> str:
    """Raise SecretNotFoundError."""
    raise SecretNotFoundError(key)
