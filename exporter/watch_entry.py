"""What the configuration says of files that are watched."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from exporter.certcheck.expiry import ExpiryPolicy
from exporter.strict import (
    Passphrase,
    Reference,
    Strict,
    Text,
    WarningDays,
    WarningFraction,
    check_passphrase,
    policy_of,
)


def _files(pattern: str) -> str:
    if not pattern:
        raise ValueError("must not be empty")
    if any("**" in segment and segment != "**" for segment in pattern.split("/")):
        raise ValueError("must have ** between slashes only, where it stands for any number of directories")
    return pattern


class WatchEntry(Strict):
    """Files whose certificates are watched, used or not: one, those of a directory, or those that a glob matches."""

    files: Annotated[str, AfterValidator(_files)]
    name: Reference | None = None
    role: Literal["upstream", "upstream_server", "client", "server", "ca"] = "server"
    exclude: list[Text] = Field(default_factory=list)
    passphrase_file: Text | None = None
    passphrase: Passphrase | None = None
    warning_threshold_days: WarningDays | None = None
    warning_lifetime_fraction: WarningFraction | None = None

    @model_validator(mode="after")
    def _check_passphrase(self) -> Self:
        check_passphrase(self.passphrase_file, self.passphrase)
        return self

    def policy(self, owner: ExpiryPolicy) -> ExpiryPolicy | None:
        """What its certificates are judged by, given what their owner's are; None: by that."""
        return policy_of(self, owner)


def _watch_entry(value: Any) -> Any:
    if isinstance(value, str):
        return {"files": _files(value)}
    if not isinstance(value, dict | WatchEntry):
        raise ValueError("must be a file, a directory, a glob, or a mapping with files")  # noqa: TRY004 pydantic's way
    return value


Watch = Annotated[WatchEntry, BeforeValidator(_watch_entry, json_schema_input_type=str | WatchEntry)]
