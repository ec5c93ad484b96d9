"""What `headgate up` says when it is ready."""

import shlex

from headgate_suite.app import Suite

QUESTION = {
    "system": "The ferry leaves at seven. Tickets cost four crowns. Dogs travel free.",
    "user": "What does a ticket cost?",
}


def ready_banner(suite: Suite) -> str:
    """Addresses, key and a first call to copy; ends with an empty line."""
    key = suite.bootstrap_key.reveal()
    messages = ", ".join(f'{{"role": "{role}", "content": "{text}"}}' for role, text in QUESTION.items())
    body = f'{{"model": "local-extractive", "messages": [{messages}]}}'
    curl = (
        f"curl -s http://{suite.rest}/v1/chat/completions \\\n"
        f"    -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\\n"
        f"    -d {shlex.quote(body)}"
    )
    return (
        "Headgate is ready.\n"
        f"  REST     http://{suite.rest}/v1\n"
        f"  gRPC     {suite.grpc}\n"
        f"  metrics  http://{suite.ops}/metrics\n"
        f"  key      {key}\n"
        "First call:\n"
        f"  {curl}\n\n"
    )
