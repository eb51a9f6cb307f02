"""Checks a bill of materials: against CycloneDX's schema, and that it names what is linked and nothing else.

    python tests/packages/sbom.py FILE
"""

import json
import pathlib
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

text = pathlib.Path(sys.argv[1]).read_text()
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
if error:
    sys.exit(f"{sys.argv[1]} breaks CycloneDX's schema: {error}")

bill = json.loads(text)
components = {component["name"]: component for component in bill["components"]}
linked = {"rustls", "ring", "tokio", "aws-sdk-route53", "host", "plan", "rust-std"}
# At build time only, in tests only.
elsewhere = {"syn", "serde_derive", "cc", "proptest", "tempfile", "hickory-server", "sandbox"}
if missing := linked - components.keys():
    sys.exit(f"{sys.argv[1]} lacks {missing}")
if extra := elsewhere & components.keys():
    sys.exit(f"{sys.argv[1]} names what is not linked: {extra}")

for component in bill["components"]:
    if component.get("purl", "").startswith("pkg:cargo/") and "hashes" not in component:
        sys.exit(f"{component['purl']} has no checksum")

references = {component["bom-ref"] for component in [*bill["components"], bill["metadata"]["component"]]}
depended = {ref for entry in bill["dependencies"] for ref in entry["dependsOn"]}
if dangling := (depended | {entry["ref"] for entry in bill["dependencies"]}) - references:
    sys.exit(f"{sys.argv[1]}: dependencies on what it does not list: {dangling}")
if unused := references - depended - {bill["metadata"]["component"]["bom-ref"]}:
    sys.exit(f"{sys.argv[1]}: nothing depends on {unused}")
print(f"{bill['metadata']['component']['name']}: {len(bill['components'])} libraries, valid CycloneDX {bill['specVersion']}")
