"""A store is private, stamped, and refused when it is not one of ours."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, inspect, text

from headgate_database import Database, StoreError
from headgate_testing.databases import ENGINES, location

METADATA = MetaData()
THINGS = Table("things", METADATA, Column("id", Integer, primary_key=True), Column("colour", String(20)))

SCRIPT_1 = """
revision = "0001"
down_revision = None
def upgrade(): pass
"""
SCRIPT_2 = """
from alembic import op
import sqlalchemy as sa
revision = "0002"
down_revision = "0001"
def upgrade():
    with op.batch_alter_table("things") as table:
        table.add_column(sa.Column("colour", sa.String(20), server_default="red"))
"""


def script_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_baseline.py").write_text(SCRIPT_1)
    (folder / "0002_colour.py").write_text(SCRIPT_2)
    return folder


OLD_METADATA = MetaData()
OLD_THINGS = Table("things", OLD_METADATA, Column("id", Integer, primary_key=True))


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with location(request.param, tmp_path) as place:
        yield place


async def old_store(place: str, stamp: str) -> str:
    database = Database.open(place, OLD_METADATA, "things", revision=stamp)
    await database.write(lambda sql: sql.execute(OLD_THINGS.insert().values(id=5)))
    await database.close()
    return place


async def test_a_fresh_store_is_private_made_from_metadata_and_stamped(tmp_path: Path) -> None:
    path = tmp_path / "data" / "things.sqlite3"
    database = Database.open(path, METADATA, "things", revision="0007")
    assert (
        await database.read(lambda c: c.execute(text("SELECT version_num FROM alembic_version")).scalar())
        == "0007"
    )
    assert await database.read(lambda c: c.execute(THINGS.select()).all()) == []
    assert path.parent.stat().st_mode & 0o777 == 0o700
    for each in path.parent.iterdir():
        assert each.stat().st_mode & 0o777 == 0o600, each
    await database.close()


@pytest.mark.parametrize(("synchronous", "level"), [("NORMAL", 1), ("FULL", 2)])
async def test_the_writer_has_wal_and_the_asked_synchronous_level(tmp_path: Path, synchronous, level) -> None:
    database = Database.open(f"sqlite:///{tmp_path / 'a.sqlite3'}", METADATA, "things", synchronous)
    assert await database.write(lambda c: c.exec_driver_sql("PRAGMA synchronous").scalar()) == level
    assert await database.write(lambda c: c.exec_driver_sql("PRAGMA journal_mode").scalar()) == "wal"
    await database.close()


async def test_an_old_store_is_brought_up_by_its_scripts(tmp_path: Path, place: str) -> None:
    await old_store(place, "0001")
    database = Database.open(place, METADATA, "things", revision="0002", migrations=script_folder(tmp_path))
    assert await database.read(lambda c: c.execute(THINGS.select()).all()) == [(5, "red")]
    await database.close()
    again = Database.open(place, METADATA, "things", revision="0002")
    await again.close()


@pytest.mark.parametrize("with_scripts", [True, False])
async def test_a_store_of_a_newer_program_is_refused_in_one_line(
    tmp_path: Path, place: str, with_scripts: bool
) -> None:
    await old_store(place, "0009")
    folder = script_folder(tmp_path) if with_scripts else None
    with pytest.raises(StoreError, match=r"has revision '0009'.*knows up to '0002'") as refusal:
        Database.open(place, METADATA, "things", revision="0002", migrations=folder)
    assert "\n" not in str(refusal.value)
    assert Path(place).name in str(refusal.value)


async def test_a_failed_upgrade_leaves_the_store_as_it_was(tmp_path: Path, place: str) -> None:
    await old_store(place, "0001")
    folder = script_folder(tmp_path)
    with (folder / "0002_colour.py").open("a") as script:
        script.write("    raise LookupError('halfway')\n")
    with pytest.raises(LookupError):
        Database.open(place, METADATA, "things", revision="0002", migrations=folder)
    database = Database.open(place, OLD_METADATA, "things")
    columns = await database.read(lambda sql: [each["name"] for each in inspect(sql).get_columns("things")])
    assert columns == ["id"]
    await database.close()


def test_what_is_not_a_store_of_ours_is_refused(tmp_path: Path) -> None:
    text_file = tmp_path / "a.sqlite3"
    text_file.write_text("dear diary, " * 100)
    with pytest.raises(StoreError, match="not a database"):
        Database.open(text_file, METADATA, "things")
    foreign = tmp_path / "b.sqlite3"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE other (id INTEGER)")
    connection.close()
    with pytest.raises(StoreError, match="no revision"):
        Database.open(foreign, METADATA, "things")
    with pytest.raises(StoreError, match="'mysql' are not supported"):
        Database.open("mysql://localhost/things", METADATA, "things")


def test_a_fresh_store_is_made_without_loading_alembic(tmp_path: Path) -> None:
    program = (
        "import sys; from sqlalchemy import MetaData; from headgate_database import Database\n"
        f"Database.open({str(tmp_path / 'a.sqlite3')!r}, MetaData(), 'things')\n"
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
