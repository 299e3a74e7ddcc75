"""What models of configuration are made of: nothing unknown, nothing converted, nothing echoed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, SecretStr

from exporter.certcheck.expiry import ExpiryPolicy

REDACTED = "<redacted>"


class Strict(BaseModel):
    """A model that refuses what it does not understand."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


def _reference(name: str) -> str:
    if not name or len(name) > 128 or not name.isprintable() or name != name.strip():
        raise ValueError("must be 1 to 128 visible characters, with no space around them")
    return name


Text = Annotated[str, Field(min_length=1)]
Reference = Annotated[str, AfterValidator(_reference)]
WarningDays = Annotated[float, Field(ge=0, le=36500, allow_inf_nan=False)]
Passphrase = Annotated[SecretStr, PlainSerializer(lambda _: REDACTED)]
"""Never shown."""
WarningFraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def check_passphrase(path: str | None, passphrase: SecretStr | None) -> None:
    """Raises ValueError, in the words of a configuration error, where there are two."""
    if path is not None and passphrase is not None:
        raise ValueError("give passphrase or passphrase_file, not both")


class Thresholds(Protocol):
    """What certificates may be judged by, in place of what their owner's are."""

    @property
    def warning_threshold_days(self) -> float | None: ...

    @property
    def warning_lifetime_fraction(self) -> float | None: ...

    @property
    def model_fields_set(self) -> set[str]: ...


def policy_of(own: Thresholds, owner: ExpiryPolicy) -> ExpiryPolicy | None:
    """What certificates are judged by, given what their owner's are; None: by that."""
    policy = owner
    if own.warning_threshold_days is not None:
        policy = replace(policy, warning_threshold=timedelta(days=own.warning_threshold_days))
    if "warning_lifetime_fraction" in own.model_fields_set:
        policy = replace(policy, warning_lifetime_fraction=own.warning_lifetime_fraction)
    return None if policy == owner else policy
