"""What every command begins with: the settings, and a database that is as this version needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobrunner_cli import diagnostics
from jobrunner_cli.engine import settings as settings_module
from jobrunner_cli.engine.store.database import Database, ensure_migrated

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings


def load_settings() -> Settings:
    """The settings; what the user should know about how they were read is said. Raises ConfigurationError."""
    settings = settings_module.load()
    for text in settings.notices:
        diagnostics.notice(text)
    return settings


def load_for_database() -> Settings:
    """The settings, once the database has been looked at. Raises ConfigurationError, DatabaseNotMigratedError."""
    settings = load_settings()
    ensure_migrated(settings.database_path)
    return settings


def reading(settings: Settings) -> Database:
    """The database, for reading only."""
    return Database(settings.database_path, readonly=True)
