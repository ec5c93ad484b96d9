"""Metering: rate policies, leases on limits, and the ledger of what every call used and cost."""
