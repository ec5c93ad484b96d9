"""Attribute names of OpenTelemetry's semantic conventions, and our own.

Literals, because importing the conventions package costs start time and its GenAI part is marked incubating;
a test compares every name with it.
"""

HTTP_REQUEST_METHOD = "http.request.method"
HTTP_RESPONSE_STATUS_CODE = "http.response.status_code"
HTTP_ROUTE = "http.route"
URL_PATH = "url.path"
URL_SCHEME = "url.scheme"
CLIENT_ADDRESS = "client.address"
SERVER_ADDRESS = "server.address"
ERROR_TYPE = "error.type"

RPC_SYSTEM = "rpc.system"
RPC_SERVICE = "rpc.service"
RPC_METHOD = "rpc.method"
RPC_GRPC_STATUS_CODE = "rpc.grpc.status_code"

GEN_AI_OPERATION_NAME = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL = "gen_ai.request.model"
GEN_AI_REQUEST_STREAM = "gen_ai.request.stream"
GEN_AI_RESPONSE_MODEL = "gen_ai.response.model"
GEN_AI_RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons"
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
GEN_AI_USAGE_INPUT_TOKENS = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS = "gen_ai.usage.output_tokens"

SERVICE_NAME = "service.name"
SERVICE_VERSION = "service.version"
SERVICE_INSTANCE_ID = "service.instance.id"

CALL_ID = "headgate.call_id"
REQUEST_ID = "headgate.request_id"
ACCOUNT_ID = "headgate.account_id"
KEY_PREFIX = "headgate.key_prefix"
ENDPOINT = "headgate.endpoint"
COST_NANO_USD = "headgate.cost_nano_usd"
OUTCOME = "headgate.outcome"
ESTIMATED = "headgate.usage_estimated"
ATTEMPT_NUMBER = "headgate.attempt"
UPSTREAM_ID = "headgate.upstream_model"
