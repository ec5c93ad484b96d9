"""Limits that hold over all processes although each decides alone: metering grants leases, holders spend them."""
