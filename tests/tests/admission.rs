//! The allow list, as peers meet it: which title, address and certificate is let in, what the others are told (result,
//! source and reason of PS3.8 table 9-21) and what the log says of them.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tests::certificates::Authority;
use tests::{Appliance, Site, peer, run};

const LIMIT: Duration = Duration::from_secs(60);
/// Permanent, service user: calling or called AE title not recognized.
const CALLING: [u8; 3] = [1, 1, 3];
const CALLED: [u8; 3] = [1, 1, 7];
/// Transient, service provider: local limit exceeded.
const FULL: [u8; 3] = [2, 3, 2];

/// An appliance whose `[dicom]` has these lines more.
fn start(site: &Site, lines: &str) -> Appliance {
    Appliance::ready(&site.folder, &site.config_with(lines)).unwrap()
}

/// What `count` associations at the same time are told.
fn ask(site: &Site, appliance: &Appliance, title: &str, count: &str) -> Vec<Value> {
    let port = site.dicom.to_string();
    let done = peer("associate.py", &[Path::new(&port), Path::new(title), Path::new(count)]);
    let done = done.unwrap_or_else(|error| panic!("{error}: {}", appliance.log()));
    serde_json::from_str(&done.stdout).unwrap()
}

#[test]
fn a_peer_is_its_title_and_its_address_and_calls_us_by_ours() {
    let site = Site::new().unwrap();
    let lines = "require_called_ae_title = true\n\
        [[dicom.peer]]\ncalling_ae = 'MR1'\naddress = '127.0.0.0/8'\n\
        [[dicom.peer]]\ncalling_ae = 'MR2'\naddress = '192.0.2.7'";
    let appliance = start(&site, lines);
    assert_eq!(ask(&site, &appliance, "MR1", "1"), ["accepted"]);
    assert_eq!(ask(&site, &appliance, "MR2", "1"), [json!(CALLING)]);
    assert_eq!(ask(&site, &appliance, "MR3", "1"), [json!(CALLING)]);
    let mut echo = Command::new("echoscu");
    echo.args(["-aet", "MR1", "-aec", "OTHER", "127.0.0.1", &site.dicom.to_string()]);
    let told = run(&mut echo, LIMIT).unwrap();
    let text = format!("{}{}", told.stdout, told.stderr);
    assert!(text.contains("Called AE Title Not Recognized"), "{CALLED:?}: {text}");
    let log = appliance.log();
    let rejected: Vec<&str> = log.lines().filter(|l| l.contains("association rejected")).collect();
    let named = [("MR2", "address"), ("MR3", "no peer"), ("MR1", "another AE title than ours")];
    assert_eq!(rejected.len(), named.len(), "{rejected:?}");
    for (line, (title, reason)) in rejected.iter().zip(named) {
        assert!(line.contains(title) && line.contains(reason), "{line}");
        assert!(line.contains("127.0.0.1") && line.contains("the site's move"), "{line}");
    }
}

#[test]
fn one_peer_cannot_take_the_places_of_the_others() {
    let site = Site::new().unwrap();
    let lines = "max_associations = 5\nmax_associations_per_peer = 3\n\
        [[dicom.peer]]\ncalling_ae = 'MR1'\n[[dicom.peer]]\ncalling_ae = 'MR2'\nmax_associations = 9";
    let appliance = start(&site, lines);
    let count = |answers: &[Value], kind: &Value| answers.iter().filter(|a| *a == kind).count();
    let (accepted, full) = (json!("accepted"), json!(FULL));
    let first = ask(&site, &appliance, "MR1", "4");
    assert_eq!((count(&first, &accepted), count(&first, &full)), (3, 1), "{first:?}");
    // They are free again: its own limit is beyond that of all together.
    let second = ask(&site, &appliance, "MR2", "7");
    assert_eq!((count(&second, &accepted), count(&second, &full)), (5, 2), "{second:?}");
    assert_eq!(ask(&site, &appliance, "MR1", "1"), [accepted]);
    let log = appliance.log();
    assert_eq!(log.matches("all places of this peer are taken").count(), 1, "{log}");
    assert_eq!(log.matches("all places are taken").count(), 2, "{log}");
}

#[test]
fn with_tls_a_peer_is_its_certificate_too() {
    let site = Site::new().unwrap();
    let authority = Authority::new(site.folder.path(), "hospital").unwrap();
    let own = authority.sign("sagitta", 100).unwrap();
    let scanner = authority.sign("mr1", 100).unwrap();
    let other = authority.sign("mr2", 100).unwrap();
    let fingerprint = scanner.fingerprint().unwrap();
    let file = |path: &Path| path.display().to_string();
    let lines = format!(
        "tls = true\n\
         [[dicom.peer]]\ncalling_ae = 'NAMED'\ncertificate_name = 'mr1'\n\
         [[dicom.peer]]\ncalling_ae = 'PRINTED'\ncertificate_sha256 = '{fingerprint}'\n\
         [tls]\ncertificate = '{}'\nkey = '{}'\nauthorities = '{}'",
        file(&own.certificate),
        file(&own.key),
        file(&authority.certificate())
    );
    let _appliance = start(&site, &lines);
    for title in ["NAMED", "PRINTED"] {
        for (shown, accepted) in [(&scanner, true), (&other, false)] {
            let mut echo = Command::new("echoscu");
            echo.args(["-aet", title, "-aec", "SAGITTA", "+tls"]).arg(&shown.key);
            echo.arg(&shown.certificate).arg("+cf").arg(authority.certificate());
            let told = run(echo.args(["127.0.0.1", &site.dicom.to_string()]), LIMIT).unwrap();
            let text = format!("{}{}", told.stdout, told.stderr);
            assert_eq!(told.status.success(), accepted, "{title} {shown:?}: {text}");
            assert_eq!(text.contains("Calling AE Title Not Recognized"), !accepted, "{text}");
        }
    }
}
