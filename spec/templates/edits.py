"""What we change in the generator's own templates, edit by edit.

An edit names a template of the installed generator, the text that it replaces, the text that it puts
there, and why. It must find its text exactly once: when the generator changes, generation stops and
names the edit (see `generate.py`). Whole files of ours lie beside this module: those named like a
template of the generator take its place, those under `ours/` are included by the edits below.

To switch off a part of a template, one edit opens ``{% if false %}`` before it and another closes it.
"""

from __future__ import annotations

from dataclasses import dataclass

#: The release that the edits were written for. Its templates are no public API: pin it exactly.
GENERATOR_VERSION = "0.29.1"


@dataclass(frozen=True)
class Edit:
    """One replacement in one template."""

    name: str
    template: str
    why: str
    old: str
    new: str


EDITS = (
    Edit(
        name="model-imports",
        template="model.py.jinja",
        why="The methods are ours, and so is what they need; the formatter drops what a model does not use.",
        old="""from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, BinaryIO, TextIO, TYPE_CHECKING, Generator

from attrs import define as _attrs_define
from attrs import field as _attrs_field
""",
        new="""\"\"\"The model `{{ model.class_info.name }}`.\"\"\"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define
""",
    ),
    Edit(
        name="model-readers",
        template="model.py.jinja",
        why="from_dict names the reader of each field.",
        old="""from ..types import UNSET, Unset

""",
        new="""from ..reading import (
    Fields, anything, boolean, integer, list_of, number, numbers, one_of, or_null, string
)
from ..types import UNSET, Model, Unset

""",
    ),
    Edit(
        name="model-imports-once",
        template="model.py.jinja",
        why="Imports inside from_dict and to_dict cost half of a decode; no two schemas import each other.",
        old="""{% for lazy_import in model.lazy_imports | sort %}
{% if loop.first %}
if TYPE_CHECKING:
{% endif %}
  {{ lazy_import }}
{% endfor %}


""",
        new="""{% for lazy_import in model.lazy_imports | sort %}
{{ lazy_import }}
{% endfor %}


""",
    ),
    Edit(
        name="model-no-type-variable",
        template="model.py.jinja",
        why="from_dict returns Self.",
        old="""{% from "helpers.jinja" import docstring %}

T = TypeVar("T", bound="{{ class_name }}")

""",
        new="""{% from "ours/text.jinja" import docstring, attribute_docstring %}

""",
    ),
    Edit(
        name="model-field-docstrings",
        template="model.py.jinja",
        why="Upstream's are wider than our lines and padded with spaces.",
        old="""{{ docstring(property.description | safe_for_docstring) | wordwrap(112) }}
""",
        new="""{{ attribute_docstring(property.description) }}
""",
    ),
    Edit(
        name="model-keyword-only",
        template="model.py.jinja",
        why="Positional order is the order of the spec, which changes; the base class shows only set fields,"
        " and holds additional properties for every model.",
        old="""@_attrs_define
class {{ class_name }}:
    {{ docstring(class_docstring_content(model)) | indent(4) }}
""",
        new="""@define(kw_only=True, repr=False)
class {{ class_name }}(Model):
    {{ docstring(model.description or (class_name + ".")) }}
""",
    ),
    Edit(
        name="model-additional-properties",
        template="model.py.jinja",
        why="They are a field of the base class, which its initialiser takes.",
        old="""    {% if model.additional_properties %}
    additional_properties: dict[str, {{ additional_property_type }}] = _attrs_field(init=False, factory=dict)
    {% endif %}
""",
        new="",
    ),
    Edit(
        name="model-methods",
        template="model.py.jinja",
        why="Our from_dict checks types, tolerates null, names what is missing; to_dict is in the base class.",
        old="""{% macro _transform_property(property, content) %}
""",
        new="""{% include "ours/model_methods.jinja" %}
{% if false %}
{% macro _transform_property(property, content) %}
""",
    ),
    Edit(
        name="model-end",
        template="model.py.jinja",
        why="Closes what model-methods switched off.",
        old="""    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
    {% endif %}
""",
        new="""    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
    {% endif %}
{% endif %}
""",
    ),
    Edit(
        name="enum-open",
        template="literal_enum.py.jinja",
        why="A value that a newer server knows must not lose a message: the type stays open, nothing is checked.",
        old="""from typing import Literal

{{ enum.class_info.name }} = Literal{{ "%r" | format(enum.values|list|sort) }}

""",
        new="""{% from "ours/text.jinja" import attribute_docstring %}
\"\"\"The values of `{{ enum.class_info.name }}`.\"\"\"

from __future__ import annotations

from typing import Literal

{{ enum.class_info.name }} = Literal{{ "%r" | format(enum.values | list | sort) }} | str
{% if enum.description %}
{{ attribute_docstring(enum.description) }}
{% endif %}
{% if false %}
""",
    ),
    Edit(
        name="enum-end",
        template="literal_enum.py.jinja",
        why="Closes what enum-open switched off.",
        old="""    raise TypeError(f"Unexpected value {value!r}. Expected one of {{"{"}}{{ enum.get_class_name_snake_case() | upper }}_VALUES!r}")
""",
        new="""{% endif %}
""",
    ),
    Edit(
        name="operation-imports",
        template="endpoint_module.py.jinja",
        why="Operations build and parse values; only the client module imports an HTTP library.",
        old="""from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...types import Response, UNSET
from ... import errors
""",
        new="""{% from "ours/text.jinja" import summary, wrap %}
\"\"\"{{ summary(endpoint) }}\"\"\"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import ApiError
from ...reading import (
    anything, boolean, decode_json, error_model, integer, is_error, list_of, number, numbers, one_of, or_null,
    read_body, string
)
from ...types import Request, Response, encode_json, path_segment
""",
    ),
    Edit(
        name="operation-functions",
        template="endpoint_module.py.jinja",
        why="Upstream drops NDJSON, returns None for an error, fails on status codes that no standard lists, and"
        " adds asyncio twins. Ours: build_request, parse, sync, sync_detailed, and stream where there is one.",
        old="""{% set return_string = endpoint.response_type() %}
""",
        new="""{% include "ours/operation.jinja" %}
{% if false %}
{% set return_string = endpoint.response_type() %}
""",
    ),
    Edit(
        name="operation-end",
        template="endpoint_module.py.jinja",
        why="Closes what operation-functions switched off.",
        old="""    return (await asyncio_detailed(
        {{ kwargs(endpoint) }}
    )).parsed
{% endif %}
""",
        new="""    return (await asyncio_detailed(
        {{ kwargs(endpoint) }}
    )).parsed
{% endif %}
{% endif %}
""",
    ),
)
