//! What comes from S3, with what, and what happens when it does not come.

use sandbox::cloud::BUCKET;
use sandbox::faults::{Fault, Planned};
use sandbox::http::ServiceName;

use crate::host::{Host, Service, With};

const PACKAGE: &str = "agents/0.1.0/bbb-agent_0.1.0_amd64.deb";

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_installed_with_aws_and_with_curl_under_all_shells() {
    e2e::at_once([With::Aws, With::Curl, With::Busybox], |with| async move {
        let host = Host::new(with).await;
        host.release("0.1.0", Service::Ready);
        let run = host.expect(0, &["--hostname"]).await;
        let client = if with == With::Aws { "with aws" } else { "with curl" };
        run.says(&[client, "bbb-agent 0.1.0 is ready: says the service"]);
        assert_eq!(
            host.changes(),
            [
                "hostnamectl set-hostname vc-0123456789abcdef0.example.org",
                "dpkg bbb-agent_0.1.0_amd64.deb",
                "systemctl --no-block restart bbb-agent.service",
                "systemctl --quiet enable bbb-agent.service",
            ],
            "{run}"
        );
        assert!(host.settings().contains("dns.zone_id = \"Z0123456789EXAMPLE\"\ndns.domain = \"example.org\"\n"));
        assert!(host.path("var/cache/bbb-agent/bbb-agent_0.1.0_amd64.deb").is_file());
        assert!(!host.path("var/cache/bbb-agent/work").exists());
    })
    .await;
}
