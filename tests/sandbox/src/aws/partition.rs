//! The partitions of AWS: clouds of their own, with their own accounts, regions and domains.

/// A partition, with one of its regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its name in ARNs; IMDS tells it in `services/partition`.
    pub name: &'static str,
    /// One of its regions.
    pub region: &'static str,
    /// The domain of its services; IMDS tells it in `services/domain`.
    pub domain: &'static str,
}

/// All partitions that the SDK knows (the `partitions.json` in its crates, 2026-11).
pub const PARTITIONS: [Partition; 8] = [
    Partition { name: "aws", region: "eu-central-1", domain: "amazonaws.com" },
    Partition { name: "aws-cn", region: "cn-north-1", domain: "amazonaws.com.cn" },
    Partition { name: "aws-us-gov", region: "us-gov-west-1", domain: "amazonaws.com" },
    Partition { name: "aws-eusc", region: "eusc-de-east-1", domain: "amazonaws.eu" },
    Partition { name: "aws-iso", region: "us-iso-east-1", domain: "c2s.ic.gov" },
    Partition { name: "aws-iso-b", region: "us-isob-east-1", domain: "sc2s.sgov.gov" },
    Partition { name: "aws-iso-e", region: "eu-isoe-west-1", domain: "cloud.adc-e.uk" },
    Partition { name: "aws-iso-f", region: "us-isof-south-1", domain: "csp.hci.ic.gov" },
];
