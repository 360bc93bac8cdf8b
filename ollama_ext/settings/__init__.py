"""Settings of mirror and fleet: from a YAML file or a mapping, from the environment, from flags.

`Settings.load` and `Settings.from_mapping` read, check and tell every problem at once; docs/settings.md lists
the keys, and `python -m ollama_ext.settings` prints that list from the code.

settings             `Settings`: the whole, and where each value came from
parts                its sections
keys, table          every key: its kind, what it means, its default; and the table of them
reading, fitting     which source decides; what is good alone, and wrong side by side
sources              what flags and the environment say; layouts: what a file or a mapping says
kinds                kinds of values: what is taken, and what is told about the rest
texts, urls          which text a key takes; addresses of brokers, also without their passwords
plain                what YAML's unquoted words mean, and which of them must be quoted
yaml_text            YAML with its lines; the only one that knows PyYAML, which it imports when needed
given                values as they were given, and the errors about them

Nothing here imports pika, boto3 or PyYAML before it is needed.
"""

from __future__ import annotations

from .given import Origin, SettingsError
from .parts import AmqpSettings, OllamaSettings, S3Settings, Subscription, WorkerSettings
from .settings import Settings
from .urls import redacted

__all__ = [
    "AmqpSettings",
    "OllamaSettings",
    "Origin",
    "S3Settings",
    "Settings",
    "SettingsError",
    "Subscription",
    "WorkerSettings",
    "redacted",
]
