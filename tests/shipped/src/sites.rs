//! The distribution's real nginx takes the files of BBB's that the repair has written: a host's name in place of an
//! image's, and its address.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{Rig, skipped};

use crate::root;

/// Where `tests/prepare` has unpacked nginx, and what it needs.
const UNPACKED: &str = "target/tools/nginx";
const IMAGE: &str = "bbb-image.invalid";
const SITE: &str = "etc/nginx/sites-available/bigbluebutton";
const SIP: &str = "usr/share/bigbluebutton/nginx/sip.nginx";

fn nginx() -> Option<PathBuf> {
    let program = root().join(UNPACKED).join("usr/sbin/nginx");
    program.is_file().then_some(program)
}

/// Has nginx read the site and the way to FreeSWITCH of a host, and returns the settings as it has read them.
fn read_by_nginx(nginx: &Path, host: &Path) -> String {
    let work = host.join("nginx");
    std::fs::create_dir_all(&work).unwrap();
    let settings = format!(
        "pid {0}/pid; error_log stderr; events {{}}\nhttp {{ access_log off;\n\
         client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; \
         scgi_temp_path {0}/s;\ninclude {1};\nserver {{ listen 127.0.0.1:81; include {2}; }} }}\n",
        work.display(),
        host.join(SITE).display(),
        host.join(SIP).display()
    );
    let file = work.join("nginx.conf");
    std::fs::write(&file, settings).unwrap();
    let mut command = Command::new(nginx);
    command.arg("-T").arg("-c").arg(&file).arg("-p").arg(&work);
    command.env("LD_LIBRARY_PATH", root().join(UNPACKED).join("usr/lib/x86_64-linux-gnu"));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn nginx_takes_the_files_that_were_set_right() {
    let Some(nginx) = nginx() else {
        skipped("nginx is not unpacked (tests/prepare test)");
        return;
    };
    let rig = Rig::bbb().await;
    rig.announces("203.0.113.10");
    rig.is_from_image(IMAGE);
    rig.readdress("203.0.113.99");
    // The certificate's place has the image's name in it, and keeps it.
    let host = rig.host.root.clone();
    let live = host.join("etc/letsencrypt/live").join(IMAGE);
    std::fs::create_dir_all(&live).unwrap();
    let request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=placeholder"];
    let made = Command::new("openssl")
        .args(request)
        .arg("-keyout")
        .arg(live.join("privkey.pem"))
        .arg("-out")
        .arg(live.join("fullchain.pem"))
        .output()
        .unwrap();
    assert!(made.status.success());
    let site = std::fs::read_to_string(host.join(SITE)).unwrap();
    let site = site.replace("/etc/letsencrypt", &host.join("etc/letsencrypt").display().to_string());
    std::fs::write(
        host.join(SITE),
        site.replace("listen 80", "listen 8080").replace("listen 443", "listen 8443"),
    )
    .unwrap();
    let before = read_by_nginx(&nginx, &host);
    assert!(before.contains(&format!("server_name {IMAGE};")) && before.contains("http://203.0.113.10:5066"));
    rig.expect(0, &["addresses", "--set", "bbb.addresses=repair"]).await;
    let after = read_by_nginx(&nginx, &host);
    assert_eq!(after.matches(&format!("server_name {};", rig.fqdn())).count(), 2, "{after}");
    assert!(after.contains("http://203.0.113.99:5066") && !after.contains("203.0.113.10:"), "{after}");
    assert!(after.contains(&format!("live/{IMAGE}/fullchain.pem")), "{after}");
}
