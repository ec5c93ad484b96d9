"""What `headgate up` says when it is ready."""

import shlex

from headgate_auth.settings import AuthSettings
from headgate_hosting.banner import address_lines
from headgate_hosting.process import Process
from headgate_settings.loaded import LoadedSettings
from headgate_suite.client import BOOTSTRAP_KEY

QUESTION = {
    "system": "The ferry leaves at seven. Tickets cost four crowns. Dogs travel free.",
    "user": "What does a ticket cost?",
}


def ready_banner(process: Process, settings: LoadedSettings) -> str:
    """The banner of a suite in one process."""
    rest = next(str(each.address) for each in process.listeners if each.label == "REST")
    return suite_banner(rest, address_lines(process), settings.of(AuthSettings))


def suite_banner(rest: str, addresses: str, auth: AuthSettings) -> str:
    """Addresses, key and a first call to copy; ends with an empty line. `rest` is where the API is, `addresses` are
    lines."""
    key = auth.bootstrap_key.reveal() or (auth.data / BOOTSTRAP_KEY).read_text().strip()
    messages = ", ".join(f'{{"role": "{role}", "content": "{text}"}}' for role, text in QUESTION.items())
    body = f'{{"model": "local-extractive", "messages": [{messages}]}}'
    curl = (
        f"curl -s http://{rest}/v1/chat/completions \\\n"
        f"    -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\\n"
        f"    -d {shlex.quote(body)}"
    )
    return f"Headgate is ready.\n{addresses}  key      {key}\nFirst call:\n  {curl}\n\n"
