"""The templates of this package, and those of an operator that replace them."""

from __future__ import annotations

import re
from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from jinja2 import FunctionLoader, StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from servicekit.settings import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable
    from pathlib import Path

GENERAL: Final = "general"
"""Folder of the templates for languages without their own."""
_LAST: Final = "en"

_SUFFIX: Final = ".j2"
_NAMES: Final = frozenset({"system", "child", "hero", "combined"})
_FOLDER: Final = re.compile(r"[a-z]{2,3}|general")
_MAX_BYTES: Final = 100_000


class Templates:
    """All templates, read and compiled at start."""

    def __init__(self, directory: Path | None) -> None:
        """Raises ConfigurationError for a directory, or a file in it, that cannot be used."""
        self._sources = {name: (text, name) for name, text in _packaged(files(__package__) / "templates")}
        if directory is not None:
            self._sources |= {name: (text, str(path)) for name, path, text in _overriding(directory)}
        # Prose for a model, not HTML: text from people is marked as data by its type, in every template.
        self._environment = ImmutableSandboxedEnvironment(
            loader=FunctionLoader(self._load),
            undefined=StrictUndefined,
            auto_reload=False,
            cache_size=-1,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        with self.tried():
            for name in self._sources:
                self._environment.get_template(name)

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages with their own templates, and "und" for all others."""
        folders = dict.fromkeys(name.partition("/")[0] for name in self._sources)
        return tuple("und" if folder == GENERAL else folder for folder in folders)

    def folder_of(self, language_code: str) -> str:
        """Returns the folder for a BCP-47 code, by its first subtag."""
        language = language_code.partition("-")[0].lower()
        return language if any(name.startswith(f"{language}/") for name in self._sources) else GENERAL

    def render(self, folder: str, name: str, variables: Mapping[str, Any]) -> str:
        """Renders the template `name` of `folder`."""
        return self._environment.get_template(f"{folder}/{name}{_SUFFIX}").render(variables)

    @contextmanager
    def tried(self) -> Iterator[None]:
        """Converts every failure of a template into a ConfigurationError that names its file."""
        try:
            yield
        except TemplateSyntaxError as error:
            path = self._sources[error.name][1] if error.name in self._sources else error.name
            raise _unusable(f"{path}, line {error.lineno}", error.message or "a mistake") from None
        except (
            TemplateError,
            TypeError,
            ValueError,
            ArithmeticError,
            LookupError,
            AttributeError,
            RecursionError,
        ) as error:
            said = str(error) if isinstance(error, TemplateError) else type(error).__name__
            raise _unusable(self._place_of(error), said) from None

    def _load(self, name: str) -> tuple[str, str, None] | None:
        """Returns a template, or where its folder lacks it the general one, or else the English one."""
        file = name.rpartition("/")[2]
        found = next(filter(self._sources.__contains__, (name, f"{GENERAL}/{file}", f"{_LAST}/{file}")), None)
        return None if found is None else (*self._sources[found], None)

    def _place_of(self, error: Exception) -> str:
        """Returns file and line of the innermost template in the stack of `error`."""
        paths = {path for _, path in self._sources.values()}
        place = "the templates"
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename in paths:
                place = f"{trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}"
            trace = trace.tb_next
        return place


def _packaged(root: Traversable) -> Iterator[tuple[str, str]]:
    for folder in root.iterdir():
        for file in folder.iterdir():
            yield f"{folder.name}/{file.name}", file.read_text(encoding="utf-8")


def _overriding(directory: Path) -> Iterator[tuple[str, Path, str]]:
    if not directory.is_dir():
        raise ConfigurationError(
            f"The folder of prompt templates {directory} does not exist. Create it, or unset the variable."
        )
    for path in sorted(directory.rglob(f"*{_SUFFIX}")):
        folder, _, name = path.relative_to(directory).as_posix().rpartition("/")
        if not _FOLDER.fullmatch(folder) or (path.stem not in _NAMES and not name.startswith("_")):
            raise _unusable(
                str(path),
                f"its place must be <language>/<name>{_SUFFIX} or {GENERAL}/<name>{_SUFFIX}, where the name is one of "
                f"{', '.join(sorted(_NAMES))} or begins with an underscore",
            )
        try:
            content = path.read_bytes()
            if len(content) > _MAX_BYTES:
                raise _unusable(str(path), f"it has more than {_MAX_BYTES} bytes")
            yield f"{folder}/{name}", path, content.decode()
        except (OSError, UnicodeDecodeError):
            raise _unusable(str(path), "it is not readable UTF-8 text") from None


def _unusable(place: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"The prompt template {place} cannot be used: {' '.join(why.split())}.")
