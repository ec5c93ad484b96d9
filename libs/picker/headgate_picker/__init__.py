"""Picks the deployment of each attempt: least loaded of two, with local ejection of what keeps failing."""

from headgate_picker.health import Health
from headgate_picker.picker import Picker
from headgate_picker.table import Candidate, Route, RouteTable

__all__ = ["Candidate", "Health", "Picker", "Route", "RouteTable"]
