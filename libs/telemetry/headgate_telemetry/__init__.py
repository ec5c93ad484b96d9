"""Logs, traces and metrics: one compact record per call, written out in batches."""
