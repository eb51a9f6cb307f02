"""botocore on Route 53: changes that have to be refused, a batch that is all or nothing, and how a zone is listed.

Takes the zone's id; AWS_ENDPOINT_URL names the service. Fails, and names each fault, where Route 53 would have
answered otherwise.
"""

import sys

import botocore.session
from botocore.exceptions import ClientError

zone = sys.argv[1]
route53 = botocore.session.get_session().create_client("route53")
faults = []


def record(name, kind="A", values=("192.0.2.1",), ttl=60, **more):
    values = [{"Value": value} for value in values]
    return {"Name": name, "Type": kind, **({"TTL": ttl} if ttl else {}), "ResourceRecords": values, **more}


def change(*changes):
    changes = [{"Action": action, "ResourceRecordSet": record} for action, record in changes]
    return route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})["ChangeInfo"]


def listed(size=100):
    pages = route53.get_paginator("list_resource_record_sets")
    pages = pages.paginate(HostedZoneId=zone, PaginationConfig={"PageSize": size})
    return [record for page in pages for record in page["ResourceRecordSets"]]


def expect(what, is_so):
    if not is_so:
        faults.append(what)


def refused(what, code, words, call):
    try:
        call()
        faults.append(f"{what}: accepted")
    except ClientError as error:
        answer = error.response["Error"]
        said = " ".join([answer.get("Message", ""), *error.response.get("messages", [])])
        expect(f"{what}: {answer}", answer["Code"] == code and words in said)
    # Once, because an account's calls are few.
    expect(f"{what}: something has changed", listed() == before)
    print(f"refused: {what}", flush=True)


several = {"SetIdentifier": "i-1", "MultiValueAnswer": True}
change(
    ("CREATE", record("www.example.org")),
    ("CREATE", record("Star*.example.org", "TXT", ['"a" "b"'])),
    ("CREATE", record("alias.example.org", "CNAME", ["www.example.org"])),
    ("CREATE", record("many.example.org", values=["192.0.2.2"], **several)),
)
before = listed()
batch = "InvalidChangeBatch"
thousand = [("CREATE", record(f"h{number}.example.org")) for number in range(1001)]
for what, code, words, changes in [
    ("CREATE of a set that exists", batch, "it already exists", [("CREATE", record("www.example.org"))]),
    ("DELETE with another TTL", batch, "do not match", [("DELETE", record("www.example.org", ttl=61))]),
    ("DELETE with other values", batch, "do not match", [("DELETE", record("www.example.org", values=["192.0.2.9"]))]),
    ("DELETE of a set that is absent", batch, "was not found", [("DELETE", record("gone.example.org"))]),
    ("a name outside of the zone", batch, "not permitted in zone", [("CREATE", record("www.example.com"))]),
    ("a bad A", batch, "IllegalIPv4Address", [("CREATE", record("x.example.org", values=["192.0.2.300"]))]),
    ("a bad AAAA", batch, "IllegalIPv6Address", [("CREATE", record("x.example.org", "AAAA", ["192.0.2.1"]))]),
    ("TXT without quotation marks", batch, "quotation marks", [("CREATE", record("x.example.org", "TXT", ["bare"]))]),
    ("no TTL", "InvalidInput", "TTL", [("CREATE", record("x.example.org", ttl=None))]),
    ("CNAME beside others", batch, "conflicts with", [("CREATE", record("www.example.org", "CNAME", ["a.example.org"]))]),
    ("simple beside multivalue", batch, "multivalue answer rrset exists", [("CREATE", record("many.example.org"))]),
    ("a policy without a set identifier", "InvalidInput", "SetIdentifier",
     [("CREATE", record("x.example.org", MultiValueAnswer=True))]),
    ("over 1,000 changes", batch, "Number of records limit of 1000 exceeded", thousand),
    # One change is good.
    ("a batch of which one change is bad", batch, "it already exists",
     [("CREATE", record("new.example.org")), ("CREATE", record("www.example.org"))]),
    ("a stale replacement", batch, "do not match",
     [("DELETE", record("www.example.org", values=["192.0.2.9"])), ("CREATE", record("www.example.org"))]),
]:
    refused(what, code, words, lambda changes=changes: change(*changes))
refused("an unknown change", "NoSuchChange", "", lambda: route53.get_change(Id="C0000000000000"))
refused("an unknown zone", "NoSuchHostedZone", "", lambda: route53.get_hosted_zone(Id="Z0000000000000"))

# What it is for: a replacement that fits, in one batch, until every name server has it.
info = change(
    ("DELETE", record("WWW.example.org.")),
    ("CREATE", record("www.example.org", values=["192.0.2.3"])),
)
route53.get_waiter("resource_record_sets_changed").wait(Id=info["Id"], WaiterConfig={"Delay": 1})
names = [(record["Name"], record["Type"]) for record in listed(size=2)]
expect(f"the order is {names}", names == [
    ("example.org.", "NS"), ("example.org.", "SOA"), ("alias.example.org.", "CNAME"), ("many.example.org.", "A"),
    ("star\\052.example.org.", "TXT"), ("www.example.org.", "A"),
])
page = route53.list_resource_record_sets(HostedZoneId=zone, StartRecordName="www.example.org", StartRecordType="A")
expect(f"the set is {page}", page["ResourceRecordSets"] == [record("www.example.org.", values=["192.0.2.3"])])
expect("no page follows", not page["IsTruncated"])
zones = route53.list_hosted_zones_by_name(DNSName="example.org")["HostedZones"]
expect(f"the zones are {zones}", [found["Id"] for found in zones] == [f"/hostedzone/{zone}"])

if faults:
    sys.exit("\n".join(faults))
