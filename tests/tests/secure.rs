//! DICOM over TLS with certificates of both sides, against DCMTK: who shows a good certificate is heard, everybody else is
//! refused with one line in the log; and what becomes of certificates that run out.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tests::certificates::{Authority, Pair};
use tests::site::{objects, series_uid};
use tests::{Appliance, Finished, Site, phantom, run, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

/// A site whose listener wants TLS, with the authority it believes.
fn secured() -> (Site, Authority) {
    let site = Site::new().unwrap();
    let authority = Authority::new(site.folder.path(), "hospital").unwrap();
    authority.sign("sagitta", 100).unwrap();
    (site, authority)
}

/// The table `[tls]` with this certificate of ours.
fn tls(site: &Site, own: &str) -> String {
    let file = |name: &str| site.folder.join(name).display().to_string();
    let (certificate, key) = (file(&format!("{own}.pem")), file(&format!("{own}.key")));
    let authorities = file("hospital.pem");
    format!("[tls]\ncertificate = '{certificate}'\nkey = '{key}'\nauthorities = '{authorities}'\n")
}

fn logged(appliance: &Appliance, text: &str) {
    wait_until(text, LIMIT, || appliance.log().contains(text).then_some(()))
        .unwrap_or_else(|error| panic!("{error}: {}", appliance.log()));
}

/// `storescu` with this TLS.
fn send(site: &Site, folder: &Path, tls: &[&Path]) -> Finished {
    let mut command = Command::new("storescu");
    command.args(["+sd", "-R", "-aec", "SAGITTA", "-aet", "SCANNER"]).args(tls);
    command.args(["127.0.0.1", &site.dicom.to_string()]).arg(folder);
    run(&mut command, LIMIT).unwrap()
}

fn shown<'a>(pair: &'a Pair, authority: &'a Path) -> [&'a Path; 5] {
    [Path::new("+tls"), &pair.key, &pair.certificate, Path::new("+cf"), authority]
}

#[test]
fn only_a_certificate_of_the_sites_authority_is_heard() {
    let (site, authority) = secured();
    let believed = authority.certificate();
    let scanner = authority.sign("scanner", 100).unwrap();
    let late = authority.sign_expired("late").unwrap();
    let foreign = Authority::new(site.folder.path(), "elsewhere").unwrap();
    let stranger = foreign.sign("stranger", 100).unwrap();
    let config =
        site.config().replace("[dicom]\n", "[dicom]\ntls = true\n") + &tls(&site, "sagitta");
    let appliance = Appliance::ready(&site.folder, &config).unwrap();
    logged(&appliance, "our TLS certificate is valid");
    let series = site.folder.join("series");
    phantom(&series, &[]).unwrap();

    let anonymous = [Path::new("+tla"), Path::new("+cf"), believed.as_path()];
    for (who, options, reason) in [
        ("late", &shown(&late, &believed)[..], "expired"),
        ("stranger", &shown(&stranger, &believed)[..], "UnknownIssuer"),
        ("anonymous", &anonymous[..], "no certificates"),
        ("plain", &[][..], "InvalidContentType"),
    ] {
        let before = appliance.log().len();
        let sent = send(&site, &series, options);
        assert!(!sent.status.success(), "{who}: {sent:?}");
        let line = wait_until(who, LIMIT, || {
            let log = appliance.log();
            let new = &log[before..];
            new.lines().find(|line| line.contains("no secure connection")).map(str::to_owned)
        });
        let line = line.unwrap();
        assert!(line.contains("the sender's move"), "{line}");
        assert!(line.to_lowercase().contains(&reason.to_lowercase()), "{who}: {line}");
    }
    assert!(!site.folder.join("data/spool").read_dir().unwrap().any(|_| true), "nothing was kept");

    send(&site, &series, &shown(&scanner, &believed)).success().unwrap();
    let job = site.job(&series_uid(&series).unwrap()).unwrap();
    assert_eq!(site.settled(&job).unwrap()["state"], "done", "{}", appliance.log());
    assert_eq!(site.console.files().unwrap().len(), objects(17));
}

#[test]
fn results_go_to_a_console_that_proves_who_it_is() {
    let (mut site, authority) = secured();
    let believed = authority.certificate();
    let console = authority.sign("console", 100).unwrap();
    let foreign = Authority::new(site.folder.path(), "elsewhere").unwrap();
    let impostor = foreign.sign("impostor", 100).unwrap();
    let config = site.config() + "tls = true\n" + &tls(&site, "sagitta");
    site.console.secure(&impostor.key, &impostor.certificate, &believed).unwrap();
    let appliance = Appliance::ready(&site.folder, &config).unwrap();
    let series = site.folder.join("series");
    phantom(&series, &[]).unwrap();
    send(&site, &series, &[]).success().unwrap();
    logged(&appliance, "not sent: no secure connection to console");
    let log = appliance.log();
    let line = log.lines().find(|line| line.contains("not sent: ")).unwrap();
    assert!(line.contains("UnknownIssuer") && line.contains("the site's move"), "{line}");
    assert!(site.console.files().unwrap().is_empty());

    site.console.secure(&console.key, &console.certificate, &believed).unwrap();
    let job = site.job(&series_uid(&series).unwrap()).unwrap();
    assert_eq!(site.settled(&job).unwrap()["state"], "done", "{}", appliance.log());
    assert_eq!(site.console.files().unwrap().len(), objects(17));
}

#[test]
fn certificates_that_cannot_serve_are_named_and_expiry_is_told() {
    let (site, authority) = secured();
    authority.sign("soon", 20).unwrap();
    authority.sign_expired("over").unwrap();
    for (own, state, health) in [
        ("sagitta", Value::Null, "good"),
        ("soon", "expires".into(), "absent"),
        ("over", "expired".into(), "wrong"),
    ] {
        let found = doctor(&site, &(site.config() + &tls(&site, own)));
        assert_eq!((&found["state"], &found["health"]), (&state, &health.into()), "{own}: {found}");
    }
    let swapped = tls(&site, "sagitta").replace("sagitta.key", "soon.key");
    let absent = tls(&site, "sagitta").replace("hospital.pem", "nobody.pem");
    let empty = tls(&site, "sagitta").replace("hospital.pem", "sagitta.key");
    for (tls, named) in [(swapped, "soon.key"), (absent, "nobody.pem"), (empty, "sagitta.key")] {
        let config = site.config() + &tls;
        let found = doctor(&site, &config);
        assert_eq!(found["health"], "wrong", "{found}");
        let mut appliance = Appliance::start(&site.folder, &config).unwrap();
        assert_eq!(appliance.process.wait(LIMIT).unwrap(), Some(1));
        let log = appliance.log();
        let line = log.trim_end().lines().last().unwrap();
        assert!(line.starts_with("error: ") && line.contains(named), "{named}: {line}");
    }
}

/// What `sagitta doctor` finds of the certificate.
fn doctor(site: &Site, config: &str) -> Value {
    site.doctor(config, "certificate").unwrap().remove(0)
}
