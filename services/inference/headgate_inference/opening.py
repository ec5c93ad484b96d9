"""What every call goes through before a provider is asked: is the request sound, is the model there, may the
caller use it, how large is it, are there tokens left, and is the intent in the journal."""

from headgate.inference.v1 import inference_pb2 as pb
from headgate_admission.admission import Admission
from headgate_clock import Clock, uuid7
from headgate_inference import sizes
from headgate_inference.attempts import Attempts
from headgate_inference.call_meter import CallMeter
from headgate_inference.catalogue import Catalogue
from headgate_inference.deployments import Deployment
from headgate_inference.usage import Estimate
from headgate_inference.validation import check_dimensions, check_embed, check_spec, invalid
from headgate_journal import Journal, JournalError, JournalFull
from headgate_rpc.call import CallContext
from headgate_rpc.errors import HeadgateError, Reason

_SHOWN_MODELS = 20
_DEFAULT_MOST_OUTPUT = 4096
_RETRY_AFTER_MS = 1000


class Opening:
    """Opens calls. With `sync_intents` the intent is on the disk before the provider is asked."""

    def __init__(
        self,
        catalogue: Catalogue,
        attempts: Attempts,
        admission: Admission,
        journal: Journal,
        clock: Clock,
        *,
        sync_intents: bool,
    ) -> None:
        self._catalogue = catalogue
        self._attempts = attempts
        self._admission = admission
        self._journal = journal
        self._clock = clock
        self._sync_intents = sync_intents

    async def generation(self, spec: pb.GenerationSpec, call: CallContext, *, streamed: bool) -> CallMeter:
        """The call's meter, its intent written. Raises HeadgateError."""
        call.record.operation = "chat"
        call.record.streamed = streamed
        check_spec(spec)
        first = self._first(spec.model, call, embedding=False)
        size = sizes.prompt_bytes(spec)
        allowed = sizes.output_limit(spec)
        choices = spec.n or 1
        most = _most_output(allowed, first.model.max_output, choices)
        estimate = Estimate(size, sizes.tokens(size), most, allowed)
        return await self._metered(call, first, estimate, sizes.expected_output(choices, allowed))

    async def embedding(self, request: pb.EmbedRequest, call: CallContext) -> CallMeter:
        """The same for an embeddings request."""
        call.record.operation = "embeddings"
        check_embed(request)
        first = self._first(request.model, call, embedding=True)
        check_dimensions(request, first.model.dimensions)
        size = sizes.input_bytes(request)
        estimate = Estimate(
            input_bytes=size, input_tokens=sizes.tokens(size), most_output=0, allowed_output=0
        )
        return await self._metered(call, first, estimate, 0)

    def _first(self, name: str, call: CallContext, *, embedding: bool) -> Deployment:
        call.record.requested_model = name
        table = self._catalogue.picker.table
        if name not in table:
            raise self._unknown(name, call)
        principal = call.principal
        if principal is not None and principal.models and name not in principal.models:
            raise HeadgateError(Reason.FORBIDDEN, f"This key may not use the model {name!r}.", field="model")
        model = self._catalogue.model(name)
        if model is not None and model.is_embedding is not embedding:
            needed = "an embedding model" if embedding else "a model that generates text"
            invalid(f"The model {name!r} is not {needed}.", "model")
        first = self._attempts.choose(name, set())
        if first is None:
            raise HeadgateError(
                Reason.PROVIDER_UNAVAILABLE,
                f"No provider for the model {name!r} is there.",
                retry_after_ms=_RETRY_AFTER_MS,
            )
        return first

    def _unknown(self, name: str, call: CallContext) -> HeadgateError:
        granted = call.principal.models if call.principal is not None else frozenset[str]()
        usable = [known for known in self._catalogue.names() if not granted or known in granted]
        return HeadgateError(
            Reason.MODEL_NOT_FOUND,
            f"The model {name!r} does not exist.",
            field="model",
            details={"available_models": ",".join(usable[:_SHOWN_MODELS])},
        )

    async def _metered(
        self, call: CallContext, first: Deployment, estimate: Estimate, output: int
    ) -> CallMeter:
        if not call.call_id:  # a direct caller; the gateway makes its own
            call.call_id = call.record.call_id = uuid7(self._clock)
        call.initial_metadata["x-call-id"] = call.call_id
        hold = await self._admission.tokens(call, estimate.input_tokens + output)
        try:
            meter = CallMeter(
                call,
                hold,
                self._journal,
                self._clock,
                first=first,
                estimate=estimate,
                config_version=self._catalogue.version,
            )
        except JournalError as fault:
            hold.correct(0)
            raise _not_metered(fault) from fault
        if self._sync_intents:
            await self._on_disk(meter)
        return meter

    async def _on_disk(self, meter: CallMeter) -> None:
        try:
            await self._journal.synced(meter.seq)
        except BaseException as fault:
            meter.fail(fault)
            if isinstance(fault, JournalError):
                raise _not_metered(fault) from fault
            raise


def _most_output(allowed: int | None, model_maximum: int, choices: int) -> int:
    most = min(model_maximum or _DEFAULT_MOST_OUTPUT, _DEFAULT_MOST_OUTPUT) * choices
    return most if allowed is None else allowed


def _not_metered(fault: JournalError) -> HeadgateError:
    if isinstance(fault, JournalFull):
        message = "Too much usage waits to be recorded; no new calls for the moment."
        return HeadgateError(Reason.OVERLOADED, message, retry_after_ms=_RETRY_AFTER_MS)
    message = "Usage cannot be recorded; no new calls for the moment."
    return HeadgateError(Reason.SERVICE_UNAVAILABLE, message, retry_after_ms=_RETRY_AFTER_MS)
