"""What can be wrong with a store before the first query."""


class StoreError(Exception):
    """A store that cannot be used; the message is one line for the operator and names the store."""
