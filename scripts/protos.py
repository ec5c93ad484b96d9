"""Generate the stubs under libs/protos from proto/. `--check` fails when the committed ones differ."""

import filecmp
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
STUBS = ROOT / "libs" / "protos"
PACKAGES = '"""Generated from proto/; see `make protos`."""\n'


def run(files: list[Path], *outputs: str) -> None:
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    if protoc.main(["protoc", f"-I{PROTO}", f"-I{well_known}", *outputs, *map(str, files)]) != 0:
        sys.exit("protoc failed")


def generate(out: Path) -> None:
    files = sorted(PROTO.rglob("*.proto"))
    services = [file for file in files if "\nservice " in file.read_text()]
    run(files, f"--python_out={out}", f"--mypy_out=quiet:{out}")
    run(services, f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}")
    for folder in [out / "headgate", *(p for p in (out / "headgate").rglob("*") if p.is_dir())]:
        (folder / "__init__.py").write_text(PACKAGES)


def content(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.suffix in {".py", ".pyi"}}


def check() -> None:
    with tempfile.TemporaryDirectory() as fresh:
        generate(Path(fresh))
        names = content(STUBS) | content(Path(fresh))
        _, differing, missing = filecmp.cmpfiles(STUBS, fresh, names, shallow=False)
        if differing or missing:
            sys.exit(f"stubs drifted from proto/ (run `make protos`): {sorted(differing + missing)}")


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        check()
    else:
        for stale in STUBS.rglob("*_pb2*"):
            stale.unlink()
        generate(STUBS)
