"""Error texts in the caller's language (GEN-17): one general sentence for each reason, since what a service says
about the case at hand is written in English. Codes, numbers and field names never change."""

from collections.abc import Mapping

from headgate_rpc.errors import HeadgateError, Reason

_TEXTS: Mapping[Reason, tuple[str, str]] = {
    Reason.INVALID_REQUEST: ("Die Anfrage ist ungültig.", "La solicitud no es válida."),
    Reason.CONTEXT_LENGTH_EXCEEDED: (
        "Die Eingabe ist für dieses Modell zu lang.",
        "La entrada es demasiado larga para este modelo.",
    ),
    Reason.CONTENT_FILTERED: (
        "Der Inhalt wurde von einem Filter abgelehnt.",
        "Un filtro de contenido rechazó el texto.",
    ),
    Reason.UNAUTHORIZED: ("Es wurde kein Schlüssel mitgeschickt.", "No se envió ninguna credencial."),
    Reason.INVALID_CREDENTIALS: ("Der Schlüssel ist ungültig.", "La credencial no es válida."),
    Reason.TOKEN_EXPIRED: ("Der Schlüssel ist abgelaufen.", "La credencial ha caducado."),
    Reason.FORBIDDEN: ("Dem Schlüssel fehlt das Recht dazu.", "La credencial no tiene este permiso."),
    Reason.IP_NOT_ALLOWED: (
        "Von dieser Adresse ist der Zugriff nicht erlaubt.",
        "No se permite el acceso desde esta dirección.",
    ),
    Reason.NOT_FOUND: ("Das gibt es hier nicht.", "No existe."),
    Reason.MODEL_NOT_FOUND: ("Dieses Modell gibt es nicht.", "Este modelo no existe."),
    Reason.METHOD_NOT_ALLOWED: (
        "Dieser Pfad nimmt diese Methode nicht an.",
        "Esta ruta no admite este método.",
    ),
    Reason.CONFLICT: ("Die Anfrage widerspricht einer früheren.", "La solicitud contradice otra anterior."),
    Reason.PAYLOAD_TOO_LARGE: ("Die Anfrage ist zu groß.", "La solicitud es demasiado grande."),
    Reason.UNSUPPORTED_MEDIA_TYPE: (
        "Dieser Inhaltstyp wird nicht angenommen.",
        "No se admite este tipo de contenido.",
    ),
    Reason.RATE_LIMIT_EXCEEDED: ("Zu viele Anfragen.", "Demasiadas solicitudes."),
    Reason.QUOTA_EXCEEDED: ("Das Monatskontingent ist aufgebraucht.", "La cuota mensual está agotada."),
    Reason.BUDGET_EXCEEDED: ("Das Budget ist aufgebraucht.", "El presupuesto está agotado."),
    Reason.INTERNAL_ERROR: ("Interner Fehler.", "Error interno."),
    Reason.UPSTREAM_ERROR: (
        "Der Anbieter des Modells hat versagt.",
        "Falló el proveedor del modelo.",
    ),
    Reason.PROVIDER_UNAVAILABLE: (
        "Für dieses Modell ist kein Anbieter erreichbar.",
        "Ningún proveedor de este modelo está disponible.",
    ),
    Reason.UPSTREAM_TIMEOUT: (
        "Der Anbieter hat nicht rechtzeitig geantwortet.",
        "El proveedor no respondió a tiempo.",
    ),
    Reason.UNSUPPORTED_PARAMETER: (
        "Das Modell kennt diesen Parameter nicht.",
        "El modelo no admite este parámetro.",
    ),
    Reason.IDEMPOTENCY_OUTCOME_UNKNOWN: (
        "Der Ausgang der ersten Anfrage ist unbekannt.",
        "Se desconoce el resultado de la primera solicitud.",
    ),
    Reason.NOT_IMPLEMENTED: (
        "Das bietet diese Installation nicht an.",
        "Esta instalación no lo ofrece.",
    ),
    Reason.SERVICE_UNAVAILABLE: (
        "Ein Teil des Dienstes ist nicht erreichbar.",
        "Una parte del servicio no está disponible.",
    ),
    Reason.OVERLOADED: ("Der Dienst ist überlastet.", "El servicio está sobrecargado."),
    Reason.DEADLINE_EXCEEDED: ("Die Frist ist abgelaufen.", "Se agotó el plazo."),
    Reason.CANCELLED: ("Die Anfrage wurde abgebrochen.", "La solicitud fue cancelada."),
}
_COLUMNS = {"de": 0, "es": 1}


def translate(error: HeadgateError, language: str) -> str:
    """The human text of an error in `language`; English and anything else is what the service said."""
    column = _COLUMNS.get(language)
    if column is None:
        return error.message
    text = _TEXTS[error.reason][column]
    return f"{text} ({error.field})" if error.field else text


def choose_language(accept_language: str) -> str:
    """The best of `en`, `de`, `es` for an `Accept-Language` header (RFC 9110 section 12.5.4); `en` when none fits."""
    best, best_weight = "en", 0.0
    for choice in accept_language.split(","):
        tag, _, parameters = choice.partition(";")
        language = tag.strip().lower().partition("-")[0]
        weight = _weight(parameters)
        if (language == "en" or language in _COLUMNS) and weight > best_weight:
            best, best_weight = language, weight
    return best


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    try:
        return float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0
