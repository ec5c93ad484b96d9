"""`headgate up`: the suite in the foreground, until a signal."""

from headgate_hosting.foreground import run
from headgate_hosting.listener import GrpcAddress
from headgate_hosting.process import Plan
from headgate_hosting.service import START_ORDER
from headgate_hosting.settings import ProcessSettings
from headgate_settings import environment
from headgate_settings.config import ConfigFile
from headgate_suite.banner import ready_banner
from headgate_suite.services import services_named
from headgate_suite.settings import SuiteSettings, load_all


def run_up() -> None:
    """All services in this process, on one gRPC address. Raises what `run` does."""
    environ = environment()
    settings = load_all(environ)
    config_file = ConfigFile(settings.of(ProcessSettings).config, environ)
    config_file.read()
    grpc = GrpcAddress(settings.of(SuiteSettings).grpc, "HEADGATE_GRPC", ())
    plan = Plan("headgate", services_named(START_ORDER), [grpc], settings, config_file)
    run(plan, lambda process: ready_banner(process, settings))
