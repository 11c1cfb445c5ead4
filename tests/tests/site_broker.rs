//! A site's own broker with TLS, certificates of both sides and an access list: who may speak to whom, for a whole job.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::process::Command;
use std::time::Duration;

use tests::certificates::Authority;
use tests::series::Nagle;
use tests::site::series_uid;
use tests::{Appliance, Site, phantom, run, sagitta, send, wait_until};

const LIMIT: Duration = Duration::from_secs(60);
/// The device may write and read its own topics, the engineer may read all.
const RULES: &str = "user sagitta-north-mr1\ntopic readwrite sagitta/v1/north/mr1/#\n\
    user engineer\ntopic read sagitta/#\n";

/// A site whose broker is secure, and a configuration that shows it the certificate `own`.
struct Secured {
    site: Site,
    hospital: Authority,
}

impl Secured {
    fn new(rules: &str) -> Secured {
        let mut site = Site::new().unwrap();
        let hospital = Authority::new(site.folder.path(), "hospital").unwrap();
        let broker = hospital.sign("broker", 100).unwrap();
        let engineer = hospital.sign("engineer", 100).unwrap();
        hospital.sign("sagitta-north-mr1", 100).unwrap();
        let authority = hospital.certificate();
        site.broker.secure(&broker, &authority, rules, &engineer).unwrap();
        site.messages = site.broker.subscribe("sagitta/#").unwrap();
        Secured { site, hospital }
    }

    fn config(&self, own: &str) -> String {
        let plain = "host = '127.0.0.1'";
        let config = self.site.config();
        assert!(config.contains(plain), "{config}");
        let file = |name: &str| self.site.folder.join(name).display().to_string();
        config.replace(plain, "host = 'localhost', tls = true")
            + &format!(
                "[tls]\ncertificate = '{}'\nkey = '{}'\nauthorities = '{}'\n",
                file(&format!("{own}.pem")),
                file(&format!("{own}.key")),
                file("hospital.pem")
            )
    }

    fn start(&self, own: &str) -> Appliance {
        Appliance::start(&self.site.folder, &self.config(own)).unwrap()
    }
}

fn logged(appliance: &Appliance, text: &str) -> String {
    wait_until(text, LIMIT, || {
        appliance.log().lines().find(|line| line.contains(text)).map(str::to_owned)
    })
    .unwrap_or_else(|error| panic!("{error}: {}", appliance.log()))
}

#[test]
fn a_whole_job_is_told_to_a_broker_with_tls_and_rules() {
    let secured = Secured::new(RULES);
    let site = &secured.site;
    let appliance = secured.start("sagitta-north-mr1");
    logged(&appliance, "ready");
    logged(&appliance, "broker online");
    let series = site.folder.join("series");
    phantom(&series, &[]).unwrap();
    send(site.dicom, &series, Nagle::Off).unwrap().success().unwrap();
    let job = site.job(&series_uid(&series).unwrap()).unwrap();
    assert_eq!(site.settled(&job).unwrap()["state"], "done", "{}", appliance.log());
    let heard = site.heard(&job).unwrap();
    assert_eq!(heard.iter().filter(|(kind, _)| kind == "result").count(), 1, "{heard:?}");
    // The page hears its own device through the same broker.
    assert!(!appliance.log().contains("broker away"), "{}", appliance.log());
}

#[test]
fn who_is_not_believed_or_may_not_speak_is_told_by_name() {
    let secured = Secured::new(RULES);
    let elsewhere = Authority::new(secured.site.folder.path(), "elsewhere").unwrap();
    elsewhere.sign("stranger", 100).unwrap();
    secured.hospital.sign("another", 100).unwrap();
    for (own, reason, seen) in
        [("stranger", "Insecure", "UnknownCA"), ("another", "MessageRefused", "NotAuthorized")]
    {
        let appliance = secured.start(own);
        let line = logged(&appliance, "broker away");
        assert!(line.contains(reason) && line.contains(seen), "{own}: {line}");
        assert!(line.contains("the site's move"), "{own}: {line}");
    }
    // A broker that is not who we believe: its certificate is for localhost, by somebody else.
    let own = "sagitta-north-mr1";
    let config = secured.config(own).replace("hospital.pem", "elsewhere.pem");
    let appliance = Appliance::start(&secured.site.folder, &config).unwrap();
    let line = logged(&appliance, "broker away");
    assert!(line.contains("Insecure") && line.contains("UnknownIssuer"), "{line}");
}

#[test]
fn a_broker_with_tls_needs_certificates_in_the_configuration() {
    let secured = Secured::new(RULES);
    let config = secured.config("sagitta-north-mr1");
    let without = config.split("[tls]").next().unwrap();
    let path = secured.site.folder.join("without.toml");
    std::fs::write(&path, without).unwrap();
    let mut command = Command::new(sagitta().unwrap());
    command.args(["run", "--check-config", "--config"]).arg(&path);
    let done = run(&mut command, LIMIT).unwrap();
    assert!(!done.status.success());
    assert!(done.stderr.contains("tls = true, but there is no [tls]"), "{}", done.stderr);

    let broker = secured.site.doctor(&config, "broker").unwrap().remove(0);
    assert_eq!(broker["health"], "good", "{broker}");
}
