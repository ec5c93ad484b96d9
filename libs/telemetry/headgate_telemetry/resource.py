"""Who is speaking: the attributes that every span of a process shares."""

import platform
from uuid import uuid4

from headgate_telemetry import genai

INSTANCE = str(uuid4())


def resource_attributes(service: str, version: str) -> dict[str, str]:
    """Resource attributes of this process."""
    return {
        genai.SERVICE_NAME: service,
        genai.SERVICE_VERSION: version,
        genai.SERVICE_INSTANCE_ID: INSTANCE,
        "telemetry.sdk.language": "python",
        "process.runtime.version": platform.python_version(),
    }
