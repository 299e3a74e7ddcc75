"""What the configuration says of event handlers: named places besides the log that events go to."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, field_serializer, field_validator, model_validator

from exporter.strict import REDACTED, Reference, Strict, Text
from exporter.target import parse_target

EventName = Literal["CertificateExpiringSoon", "CertificateExpired", "CertificateRenewed", "CertificateInvalid"]

_FIELD_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# The connection's, or ours to sign by.
_OURS = frozenset({
    "connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade", "webhook-id", "webhook-signature", "webhook-timestamp",
})  # fmt: skip


class Webhook(Strict):
    """Where an event is sent. URL, header values and variables are secrets: they are never shown."""

    url: SecretStr
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    timeout_seconds: Annotated[float, Field(ge=0.1, le=60, allow_inf_nan=False)] = 10.0
    template: Literal["slack", "teams", "pagerduty", "alertmanager"] | None = None
    template_file: Text | None = None
    variables: dict[str, SecretStr] = Field(default_factory=dict)
    content_type: str = "application/json"
    secret_file: Text | None = None
    secret_files: list[Text] | None = None
    ca: Reference | None = None
    allow_private: bool = False

    @property
    def secrets(self) -> tuple[str, ...]:
        """The files with what it signs by."""
        return (self.secret_file,) if self.secret_file else (*(self.secret_files or ()),)

    @property
    def files(self) -> tuple[str, ...]:
        """All that are read for it."""
        return (*self.secrets, *([self.template_file] if self.template_file else []))

    @property
    def sends_json(self) -> bool:
        """Whether the media type is JSON: RFC 6839 section 3.1 has the suffix."""
        media = self.content_type.partition(";")[0].strip().lower()
        return media == "application/json" or media.endswith("+json")

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr) -> SecretStr:
        value = url.get_secret_value()
        if not re.fullmatch(r"https?://[!-~]+", value) or "@" in value.split("/", 3)[2]:
            raise ValueError("must be an http:// or https:// URL without credentials; put them into headers")
        if "#" in value:
            raise ValueError("must not have a fragment")
        parse_target(value.partition("?")[0])
        return url

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not re.fullmatch(_FIELD_NAME, name):
                raise ValueError("has a name that is not a field name")
            if not re.fullmatch(r"[\t -~]*", value.get_secret_value()):
                raise ValueError(f"has a value of {name} that is not plain ASCII")
            if name.lower() in _OURS:
                raise ValueError(f"has {name}, which certgauge sets itself")
            if name.lower() == "content-type":
                raise ValueError(f"has {name}: use content_type")
        return headers

    @field_validator("variables")
    @classmethod
    def _check_variables(cls, variables: dict[str, SecretStr]) -> dict[str, SecretStr]:
        if not all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) for name in variables):
            raise ValueError("has a name that is not letters, digits and _, a letter first")
        return variables

    @field_validator("content_type")
    @classmethod
    def _check_content_type(cls, content_type: str) -> str:
        if not re.fullmatch(rf"{_FIELD_NAME}/{_FIELD_NAME}( *;[ -~]*)?", content_type):
            raise ValueError("must be a media type, like application/json")
        return content_type

    @field_validator("secret_files")
    @classmethod
    def _check_secret_files(cls, files: list[str] | None) -> list[str] | None:
        if files is not None and len(files) not in {1, 2}:
            raise ValueError("must name one file, or two while a secret is exchanged")
        return files

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        if self.template is not None and self.template_file is not None:
            raise ValueError("give template or template_file, not both")
        if self.secret_file is not None and self.secret_files is not None:
            raise ValueError("give secret_file or secret_files, not both")
        if self.template_file is None and not self.sends_json:
            raise ValueError("must have a content_type of JSON: without template_file, the body is JSON")
        return self

    @field_serializer("url")
    def _hide_url(self, _url: SecretStr) -> str:
        return REDACTED

    @field_serializer("headers", "variables")
    def _hide_values(self, values: dict[str, SecretStr]) -> dict[str, str]:
        return dict.fromkeys(values, REDACTED)


class Handler(Strict):
    """A named place that events go to."""

    name: Reference
    disabled: bool = False
    webhook: Webhook


def _by_name(handlers: dict[EventName, list[Handler]]) -> dict[EventName, list[Handler]]:
    """What is delivered, and how often it was tried, is remembered by name: one name is one handler."""
    known: dict[str, Handler] = {}
    for event, listed in handlers.items():
        names = [each.name for each in listed]
        for each in listed:
            if names.count(each.name) > 1:
                raise ValueError(f"has {each.name!r} twice under {event}")
            if known.setdefault(each.name, each) != each:
                raise ValueError(f"has two handlers that are named {each.name!r} and differ")
    return handlers


EventHandlers = Annotated[dict[EventName, list[Handler]], AfterValidator(_by_name)]
