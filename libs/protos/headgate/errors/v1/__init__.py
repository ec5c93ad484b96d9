"""Generated from proto/; see `make protos`."""
