//! The templates' UserData: what it says, how long it gets, and what it is with parameters filled in.

use serde_json::Value;

use super::{FLEETS, resource, template, text};
use crate::{read, root};

/// EC2's limit on UserData, in bytes before base64.
const USER_DATA: usize = 16 * 1024;

/// A value of each parameter in UserData.
const VALUES: [(&str, &str); 44] = [
    ("Bucket", "example-releases"),
    ("BucketOwner", ""),
    ("AWS::AccountId", "123456789012"),
    ("AWS::StackName", "bbb"),
    ("AgentVersion", "0.1.0"),
    ("ReleaseSha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("PublicKey", "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"),
    ("MinimumVersion", "0.1.0"),
    ("AWS::Region", "eu-central-1"),
    ("HostedZoneId", "Z0123456789ABCDEFGHIJ"),
    ("Settings", "dns.spread=100 timeouts.register=300"),
    ("Domain", "bbb.example.org"),
    ("ZoneRoleArn", "arn:aws:iam::210987654321:role/bbb-dns"),
    ("ZoneRoleExternalId", "210987654321"),
    ("SharedName", "turn.bbb.example.org"),
    ("SharedHealthCheck", "abcdef11-2222-3333-4444-555555fedcba"),
    ("ScaleliteUrl", "https://scalelite.example.org"),
    ("ScaleliteSecretArn", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:Scalelite-a1B2c3"),
    ("ScaleliteSecretKey", "LOADBALANCER_SECRET"),
    ("TurnSecretArn", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:Turn-a1B2c3"),
    ("TurnSecretKey", "turnkeyvalue"),
    ("BbbVersion", "jammy-300"),
    ("BbbInstaller", "https://example.org/bbb-install.sh"),
    ("BbbInstallerSha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("OperatorEmail", "operator@example.org"),
    ("GuardMetadata", "yes"),
    ("MetadataUsers", "ec2-instance-connect cwagent"),
    ("LaunchHook", "no"),
    ("LogGroup", "/bbb"),
    ("CertificateSecretArn", ""),
    ("TurnServer", ""),
    ("CloudWatchAgent", "https://example.org/amazon-cloudwatch-agent.deb"),
    ("CloudWatchAgentSha256", ""),
    ("RecordingsSender", "none"),
    ("FileSystemId", ""),
    ("AccessPointId", ""),
    ("DataVolumeSize", "0"),
    ("DataVolumeId", ""),
    ("ServerName", ""),
    ("SenderSource", "https://example.org/scalelite"),
    ("SenderSha256", ""),
    ("SenderGems", "redis builder"),
    ("EfsUtils", "https://example.org/efs-utils.tar.gz"),
    ("EfsUtilsSha256", ""),
];

/// A template's UserData with these values of parameters, and others of [`VALUES`].
pub(crate) fn user_data(path: &str, values: &[(&str, &str)]) -> String {
    let template = template(path);
    let mut script =
        text(&resource(&template, "LaunchTemplate")["LaunchTemplateData"]["UserData"]["Fn::Base64"]);
    for (name, value) in values.iter().chain(&VALUES) {
        script = script.replace(&format!("${{{name}}}"), value);
    }
    // Fn::Sub's own way to leave a variable to the shell.
    script = script.replace("${!", "${");
    let shells = ["zone_role", "external_id", "shared_name", "health_check"];
    let rest = shells.iter().fold(script.clone(), |rest, name| rest.replace(&format!("${{{name}:+"), ""));
    assert!(!rest.contains("${"), "{path}: a parameter has no value: {script}");
    script
}

/// The parameters that a template's UserData has.
pub(crate) fn parameters(path: &str) -> Vec<String> {
    let template = template(path);
    let script = text(&resource(&template, "LaunchTemplate")["LaunchTemplateData"]["UserData"]["Fn::Base64"]);
    let all = template["Parameters"].as_object().unwrap().keys().cloned();
    all.filter(|name| script.contains(&format!("${{{name}}}"))).collect()
}

/// What a script does from below its settings on, word by word, without comments.
fn body(script: &str) -> String {
    let (_, body) = script.split_once("\n# ---\n").expect("the end of the settings");
    let lines = body.lines().filter(|line| !line.trim_start().starts_with('#'));
    let lines: Vec<&str> = lines.map(|line| line.trim_end_matches('\\')).collect();
    lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A template has its example's script without comments, one text for both roles. With UPDATE=1, this writes it.
#[test]
fn user_data_does_what_the_examples_do() {
    for (path, agent, _) in FLEETS {
        let example = read(format!("packaging/userdata/{}-host.sh", agent.trim_end_matches("-agent")));
        if std::env::var_os("UPDATE").is_some() {
            fill_in(path, &example);
        }
        let template = template(path);
        let launch = &resource(&template, "LaunchTemplate")["LaunchTemplateData"];
        assert_eq!(body(&text(&launch["UserData"]["Fn::Base64"])), body(&example), "{path}");
    }
    let [bbb, turn] = ["bbb", "turn"].map(|role| read(format!("packaging/userdata/{role}-host.sh")));
    assert_eq!(bbb.split_once("\n# ---\n").unwrap().1, turn.split_once("\n# ---\n").unwrap().1);
}

/// Writes the script into its template.
fn fill_in(path: &str, example: &str) {
    let (_, script) = example.split_once("\n# ---\n").expect("the end of the settings");
    let mut lines: Vec<&str> =
        script.trim_end().lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    lines.dedup_by(|line, before| line.is_empty() && before.is_empty());
    let indented = |line: &&str| match *line {
        "" => "\n".to_owned(),
        line => format!("            {line}\n"),
    };
    let script: String = lines.iter().map(indented).collect();
    let old = read(path);
    let (before, rest) = old.split_once("\n            # ---\n").expect("the end of the settings");
    let (_, after) = rest.split_once("\n  Group:\n").expect("the group");
    std::fs::write(root().join(path), format!("{before}\n            # ---\n{script}\n  Group:\n{after}"))
        .unwrap();
}

/// UserData with the longest value of each parameter, which every parameter in it must limit, fits into what EC2 takes.
#[test]
fn user_data_fits_with_the_longest_parameters() {
    for (path, ..) in FLEETS {
        let template = template(path);
        let launch = &resource(&template, "LaunchTemplate")["LaunchTemplateData"];
        let mut script = text(&launch["UserData"]["Fn::Base64"]);
        // AWS's own: StackName in CloudFormation's API reference; no region's name is longer than this.
        let mut longest = vec![("AWS::AccountId".to_owned(), 12), ("AWS::StackName".to_owned(), 128)];
        longest.push(("AWS::Region".to_owned(), 25));
        for (name, parameter) in template["Parameters"].as_object().unwrap() {
            let values = parameter["AllowedValues"].as_array().into_iter().flatten();
            let values = values.filter_map(Value::as_str).map(str::len).max();
            let limit = parameter["MaxLength"].as_u64().and_then(|length| usize::try_from(length).ok());
            let number = (parameter["Type"] == "Number").then_some(20);
            if let Some(length) = limit.or(values).or(number) {
                longest.push((name.clone(), length));
            }
        }
        for (name, length) in longest {
            script = script.replace(&format!("${{{name}}}"), &"x".repeat(length));
        }
        script = script.replace("${!", "$ {");
        assert!(!script.contains("${"), "{path}: a parameter in UserData has no MaxLength: {script}");
        let length = script.len();
        println!("{path}: {length} bytes of UserData at most");
        assert!(length < USER_DATA, "{path}: {length} bytes");
    }
}
