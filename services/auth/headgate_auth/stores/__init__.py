"""The backends of the store; one suite holds them to the same behaviour."""
