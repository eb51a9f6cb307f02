"""Reads a dashboard by Grafana's schema, as its own SDK has it, and names what the schema does not know.

The SDK drops members that it does not know, and takes values of any type; so what it has read is written again and
compared, and each value is held against the type that the schema declares.
"""

import enum
import json
import sys
import typing

from grafana_foundation_sdk.cog import encoder, plugins, runtime
from grafana_foundation_sdk.models import dashboard

faults = []


def lost(place, given, kept):
    """Whatever is given has to be in what was kept."""
    if isinstance(given, dict):
        for name, value in given.items():
            if not isinstance(kept, dict) or name not in kept:
                faults.append(f"{place}/{name}: the schema does not have it")
            else:
                lost(f"{place}/{name}", value, kept[name])
    elif isinstance(given, list):
        for number, (one, other) in enumerate(zip(given, kept, strict=True)):
            lost(f"{place}/{number}", one, other)
    elif given != kept:
        faults.append(f"{place}: {given!r} became {kept!r}")


def fits(value, declared):
    """Whether a value is of a declared type; the members of an object are looked at too."""
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if declared in (object, typing.Any):
        return True
    if origin is typing.Union:
        return any(fits(value, one) for one in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is list:
        return isinstance(value, list) and all(fits(one, arguments[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(one, arguments[1]) for one in value.values())
    if declared is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if declared is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if issubclass(declared, enum.Enum):
        return value in [member.value for member in declared]
    if isinstance(value, declared) and hasattr(value, "to_json"):
        check(value)
        return True
    return isinstance(value, declared)


def check(thing):
    kind = type(thing)
    for name, declared in typing.get_type_hints(kind).items():
        value = getattr(thing, name)
        if not fits(value, declared):
            faults.append(f"{kind.__module__.split('.')[-1]}.{kind.__name__}.{name}: {value!r} is not {declared}")


plugins.register_default_plugins()
given = json.load(sys.stdin)
read = dashboard.Dashboard.from_json(given)
lost("", given, json.loads(json.dumps(read, cls=encoder.JSONEncoder)))
check(read)
for panel in read.panels or []:
    if runtime.panelcfg_config(panel.type_val) is None:
        faults.append(f"panel {panel.id_val}: Grafana has no panel of the type {panel.type_val!r}")
print("\n".join(faults))
sys.exit(1 if faults else 0)
