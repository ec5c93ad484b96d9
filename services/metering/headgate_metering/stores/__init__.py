"""Backends of the two stores: in memory, and SQL."""
