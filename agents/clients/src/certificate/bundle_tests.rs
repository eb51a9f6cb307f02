use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use serde_json::json;

use super::*;

/// 2026-01-01.
const NOW: u64 = 1_767_225_600;

/// A root, and an authority below it that issues certificates.
pub(in crate::certificate) struct Authority {
    root: String,
    intermediate: String,
    issuer: Issuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    (params, KeyPair::generate().unwrap())
}

impl Authority {
    pub(in crate::certificate) fn new() -> Self {
        let (params, key) = authority("root");
        let root = params.self_signed(&key).unwrap().pem();
        let above = Issuer::new(params, key);
        let (params, key) = authority("intermediate");
        let intermediate = params.signed_by(&key, &above).unwrap().pem();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &root).unwrap();
        Self { root, intermediate, issuer: Issuer::new(params, key), file }
    }

    /// The certificate, and its key, in PEM.
    fn issue(&self, names: &[&str]) -> (String, String) {
        self.issue_until(names, 2027)
    }

    fn issue_until(&self, names: &[&str], year: i32) -> (String, String) {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "fleet");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn tls(&self) -> Tls {
        Tls::new(Some(self.file.path().to_owned()))
    }
}

/// A bundle that is in order.
pub(in crate::certificate) fn bundle(authority: &Authority) -> Bundle {
    let (leaf, key) = authority.issue(&["*.bbb.example.org"]);
    Bundle::parse(&[leaf, authority.intermediate.clone(), key].concat()).unwrap()
}

fn name() -> Name {
    Name::host("vc-1.bbb.example.org").unwrap()
}

fn check(authority: &Authority, text: &str) -> Result<(), Defect> {
    Bundle::parse(text)?.check(&name(), &authority.tls(), NOW).unwrap()
}

#[test]
fn every_form_of_a_secret_gives_the_same_files() {
    let authority = Authority::new();
    let (leaf, key) = authority.issue(&["*.bbb.example.org"]);
    let (above, root) = (&authority.intermediate, &authority.root);
    let in_a_line = |text: &str| text.replace('\n', " ");
    let forms = [
        format!("{leaf}{above}{key}"),
        format!("{key}{above}{leaf}"),
        format!("{root}{above}{leaf}{key}"),
        format!("Bag Attributes\r\n{leaf}subject=fleet\n\n{above}{key}").replace('\n', "\r\n"),
        in_a_line(&format!("{leaf}{above}{key}")),
        json!({"Certificate": leaf, "CertificateChain": format!("{above}{root}"), "PrivateKey": key})
            .to_string(),
        json!({"privkey": in_a_line(&key), "fullchain": in_a_line(&format!("{leaf}{above}")), "version": 3})
            .to_string(),
        json!({"all": format!("{leaf}{above}{key}").replace('\n', "\\n")}).to_string(),
    ];
    for form in forms {
        let bundle = Bundle::parse(&form).unwrap_or_else(|defect| panic!("{defect}: {form}"));
        assert_eq!(
            bundle.chain().replace("\r\n", "\n"),
            format!("{leaf}{above}").replace("\r\n", "\n"),
            "{form}"
        );
        assert_eq!(bundle.key(), key.replace("\r\n", "\n"));
        assert_eq!(*bundle.whole(), bundle.chain() + bundle.key());
        assert_eq!(bundle.check(&name(), &authority.tls(), NOW).unwrap(), Ok(()));
        assert_eq!(bundle.end(), 1_798_761_600, "2027-01-01");
        assert_eq!(bundle.fingerprint().len(), 32);
        let shown = format!("{bundle:?}");
        assert!(!shown.contains(&key[40..60]) && shown.contains("certificates: 2"), "{shown}");
    }
}

#[test]
fn every_defect_is_told_and_no_secret_is() {
    let authority = Authority::new();
    let other = Authority::new();
    let (leaf, key) = authority.issue(&["*.bbb.example.org"]);
    let (elsewhere, its_key) = authority.issue(&["*.example.net", "bbb.example.org"]);
    let (old, old_key) = authority.issue_until(&["*.bbb.example.org"], 2025);
    let above = &authority.intermediate;
    let body = key.lines().nth(1).unwrap();
    let rows = [
        (String::new(), "it has no certificate"),
        ("the secret word".to_owned(), "it has no certificate"),
        (format!("{leaf}{above}"), "it has no private key"),
        (key.clone(), "it has no certificate"),
        (format!("{leaf}{key}{its_key}"), "it has several private keys"),
        (format!("{leaf}{above}{its_key}"), "its private key belongs to none of its certificates"),
        (format!("{leaf}{}", key.replace("PRIVATE", "ENCRYPTED PRIVATE")), "its private key is encrypted"),
        (
            format!(
                "{leaf}-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----"
            ),
            "its private key is encrypted",
        ),
        (format!("{leaf}{}", key.replace("-----END", "")), "the end of its PRIVATE KEY is missing"),
        (format!("{leaf}{}", key.replace(body, "#")), "its PRIVATE KEY has a character"),
        (format!("{leaf}{}", key.replace(body, "AAAA")), "its private key is "),
        (
            format!("{}{key}", leaf.replace(leaf.lines().nth(1).unwrap(), "AAAA")),
            "it is no PEM that can be read: a certificate",
        ),
        ("{\"Certificate\": ".to_owned(), "its text begins like a JSON object"),
        (format!("{}{key}", leaf.repeat(11)), "more than 10 certificates"),
        (format!("{leaf}{key}"), "its chain leads to no authority"),
        (format!("{elsewhere}{above}{its_key}"), "its certificate is not for vc-1.bbb.example.org"),
        (format!("{old}{above}{old_key}"), "its certificate has expired, at 2025-01-01T00:00:00Z"),
    ];
    for (text, words) in rows {
        let defect = check(&authority, &text).expect_err(words).to_string();
        assert!(defect.contains(words), "{defect}, not {words}");
        assert!(!defect.contains(body) && !defect.contains("secret word"), "{defect}");
    }
    let text = format!("{leaf}{above}{key}");
    assert_eq!(check(&other, &text), Err(Defect::UnknownAuthority));
    let early = Bundle::parse(&text).unwrap().check(&name(), &authority.tls(), 1_500_000_000).unwrap();
    assert!(early.unwrap_err().to_string().contains("not valid before 2020-01-01T00:00:00Z"));
}

proptest::proptest! {
    /// Whatever a secret holds, it is taken or refused, and a refusal does not quote it.
    #[test]
    fn no_text_is_too_odd(text in "(-----(BEGIN|END) (CERTIFICATE|PRIVATE KEY)-----|[A-Za-z0-9+/=]{0,70}|\\\\n|[\\n {}\":#é])*") {
        if let Err(defect) = Bundle::parse(&text) {
            let words = defect.to_string();
            proptest::prop_assert!(words.len() < 400);
        }
    }
}
