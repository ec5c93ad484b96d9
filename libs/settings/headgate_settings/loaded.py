"""All settings of one process, loaded together so that every problem is told at once."""

from collections.abc import Collection, Mapping
from typing import TypeVar, cast

from headgate_settings.environment import SettingsError, load

T = TypeVar("T")


class LoadedSettings:
    """The settings objects of `classes` for these variables. Raises SettingsError with the problems of all."""

    def __init__(self, classes: Collection[type[object]], environ: Mapping[str, str]) -> None:
        self._objects: dict[type[object], object] = {}
        problems: dict[str, None] = {}
        for each in classes:
            try:
                self._objects[each] = load(each, environ)
            except SettingsError as error:
                problems.update(dict.fromkeys(error.problems))
        if problems:
            raise SettingsError(list(problems))

    def of(self, settings_class: type[T]) -> T:
        """The one of this class, which was among those loaded."""
        return cast("T", self._objects[settings_class])
