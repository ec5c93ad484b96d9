"""Typed clients of the services: one method for each RPC, over any channel."""
