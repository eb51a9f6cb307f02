//! The addresses that the SDK gives to AWS's services in each partition, against the domain that the metadata service
//! tells there, which `packaging/install.sh` uses.

use sandbox::aws::{PARTITIONS, Partition};

/// The host that the SDK's own resolver gives to a service in a region.
macro_rules! host {
    ($sdk:ident, $region:expr) => {{
        use $sdk::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
        let params = Params::builder().region($region).build().unwrap();
        let endpoint = ResolveEndpoint::resolve_endpoint(&DefaultResolver::new(), &params).await.unwrap();
        endpoint.url().strip_prefix("https://").unwrap().trim_end_matches('/').to_owned()
    }};
}

/// The SDK's rules for S3 take the same domain (`dnsSuffix` of the partition); its client is no part of the project.
#[tokio::test]
async fn every_service_is_below_the_partitions_domain() {
    for Partition { name, region, domain } in PARTITIONS {
        let regional = [
            ("ec2", host!(aws_sdk_ec2, region)),
            ("autoscaling", host!(aws_sdk_autoscaling, region)),
            ("monitoring", host!(aws_sdk_cloudwatch, region)),
            ("secretsmanager", host!(aws_sdk_secretsmanager, region)),
            ("sts", host!(aws_sdk_sts, region)),
        ];
        for (service, host) in regional {
            assert_eq!(host, format!("{service}.{region}.{domain}"), "{name}");
        }
        // Route 53 has one address for the whole partition, in the United States with a word before the domain.
        let host = host!(aws_sdk_route53, region);
        let global = [format!("route53.{domain}"), format!("route53.us-gov.{domain}")];
        assert!(global.contains(&host), "{name}: {host}");
    }
}

/// A region that no partition knows is taken for one of the first partition, so the list above has to be complete.
#[tokio::test]
async fn regions_of_new_partitions_would_be_misplaced() {
    assert_eq!(host!(aws_sdk_ec2, "xx-nowhere-1"), "ec2.xx-nowhere-1.amazonaws.com");
}
