"""The data plane: admits, routes, calls providers, streams, settles."""
