"""What can be set about the command line; apart from the rest, so that `headgate keys` loads no service."""

from dataclasses import dataclass
from pathlib import Path

from headgate_settings import HostPort, Secret, setting


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How the command line reaches a running suite."""

    grpc: HostPort = setting(
        env="HEADGATE_GRPC",
        default=HostPort("127.0.0.1", 50051),
        help="Address of all gRPC services in `headgate up`.",
    )
    auth_target: str = setting(
        env="HEADGATE_AUTH_TARGET", default="", help="Where other processes and the command line find auth."
    )
    inference_target: str = setting(
        env="HEADGATE_INFERENCE_TARGET", default="", help="Where the command line finds inference."
    )
    data: Path = setting(
        env="HEADGATE_DATA", default=Path(".headgate"), help="Folder of everything that is kept."
    )
    api_key: Secret = setting(
        env="HEADGATE_API_KEY",
        default=Secret(),
        help="Key the command line uses; default: the bootstrap key in the data folder.",
    )

    @property
    def auth(self) -> str:
        """Where keys are made."""
        return self.auth_target or str(self.grpc)

    @property
    def inference(self) -> str:
        """Where models answer."""
        return self.inference_target or str(self.grpc)
