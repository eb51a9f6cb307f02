"""cloud-init's own client of EC2's metadata service: crawls it, and prints what it has found as JSON.

Takes the service's address. After the crawl it prints a line and waits for one on standard input, so that the test can
end the session's token; then it reads the identity document once more, with the token that it has.
"""

import json
import sys

from cloudinit import helpers, settings, url_helper
from cloudinit.sources import DataSourceEc2 as ec2
from cloudinit.sources.helpers import ec2 as reader

address = sys.argv[1]
configuration = {"datasource": {"Ec2": {"metadata_urls": [address], "max_wait": 10, "timeout": 10}}}
source = ec2.DataSourceEc2(configuration, None, helpers.Paths(settings.CFG_BUILTIN["system_info"]["paths"]))
# What it makes of the firmware's tables, of which this machine has others.
source._cloud_name = ec2.CloudNames.AWS

found = source.crawl_metadata()
source.metadata, source.userdata_raw = found["meta-data"], found["user-data"]
source.identity = found["dynamic"]["instance-identity"]["document"]
interfaces = source.metadata["network"]
network = ec2.convert_ec2_metadata_network_config(
    interfaces,
    macs_to_nics={mac: "ens5" for mac in interfaces["interfaces"]["macs"]},
    fallback_nic="ens5",
)
report = {
    "instance": source.get_instance_id(),
    "region": source.region,
    "zone": source.availability_zone,
    "classic": source.is_classic_instance(),
    "hostname": str(source.get_hostname(fqdn=True)[0]),
    "public_keys": source.get_public_ssh_keys(),
    "root": source.device_name_to_device("root"),
    "user_data": found["user-data"].decode() if found["user-data"] else None,
    "version": found["_metadata_api_version"],
    "network": network,
    "metadata": source.metadata,
}
print(json.dumps(report), flush=True)

sys.stdin.readline()
document = reader.get_instance_identity(
    found["_metadata_api_version"],
    address,
    headers_cb=source._get_headers,
    exception_cb=source._refresh_stale_aws_token_cb,
)["document"]
print(json.dumps(document), flush=True)

# Without a token it gets nothing: a client of version 1 is not served.
try:
    url_helper.readurl(f"{address}/latest/meta-data/instance-id", retries=0)
except url_helper.UrlError as refused:
    print(json.dumps(refused.code), flush=True)
