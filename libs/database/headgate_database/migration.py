"""Brings an old store to the shape of today, by the alembic scripts of its service."""

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from headgate_database.revision import Revision, unknown_stamp


def upgrade(connection: Connection, revision: Revision, stamp: str, name: str) -> None:
    """Runs the scripts between `stamp` and the head, inside the connection's transaction.

    Raises StoreError when no script knows the stamp: a newer program made the store.
    """
    config = _config(revision)
    scripts = ScriptDirectory.from_config(config)
    try:
        scripts.get_revision(stamp)
    except CommandError:
        raise unknown_stamp(name, stamp, revision) from None

    def steps(current: str, _: MigrationContext) -> list[RevisionStep]:
        return scripts._upgrade_revs(revision.head, current)

    with EnvironmentContext(config, scripts, fn=steps) as environment:
        environment.configure(connection=connection, target_metadata=revision.metadata, render_as_batch=True)
        environment.run_migrations()


def _config(revision: Revision) -> Config:
    """The scripts lie directly in the service's folder; there is no alembic.ini and no env.py."""
    config = Config()
    config.set_main_option("script_location", str(revision.scripts))
    config.set_main_option("version_locations", str(revision.scripts))
    config.set_main_option("path_separator", "newline")
    return config
