"""Auth, as a process hosts it."""

from headgate.auth.v1 import auth_pb2
from headgate_auth.app import build
from headgate_auth.settings import AuthSettings
from headgate_database import StoreError
from headgate_hosting.service import Hosted, Service, Site


def _host(site: Site) -> Hosted:
    app = build(site.settings.of(AuthSettings), site.clock)
    return Hosted(app.servicer, [app], failing=app.failing)


SERVICE = Service(
    name="auth",
    contract=auth_pb2.DESCRIPTOR.services_by_name["AuthService"],
    settings=(AuthSettings,),
    host=_host,
    faults=(StoreError,),
)
