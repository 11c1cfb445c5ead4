//! Commands by MQTT as an operator gives them: signed by OpenSSL or by `sagitta order`, brought by `mosquitto_pub`, answered
//! once. And as somebody gives them who may not.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tests::series::Nagle;
use tests::site::{objects, series_uid};
use tests::{Appliance, Broker, Site, phantom, root, run, sagitta, send, wait_until};

const LIMIT: Duration = Duration::from_secs(60);
/// Of the phantom's 17 slices.
const OBJECTS: usize = objects(17);
const ALL: &str = "'self_test', 'drain', 'resume', 'resend', 'reprocess', 'cancel', 'model_shadow', 'model_promote', 'model_rollback', 'restart'";

/// A site with operators: `fleet` may all, `guest` may only ask for a self-test.
struct Ordered {
    site: Site,
}

impl Ordered {
    fn new() -> Ordered {
        let ordered = Ordered { site: Site::new().unwrap() };
        ["fleet", "guest", "stranger"].iter().for_each(|name| ordered.make_key(name));
        ordered
    }

    /// As an operator would, without us.
    fn make_key(&self, name: &str) {
        let (key, public) = (self.file(name, "key"), self.file(name, "pem"));
        let mut make = Command::new("openssl");
        make.args(["genpkey", "-algorithm", "ed25519", "-out"]).arg(&key);
        run(&mut make, LIMIT).unwrap().success().unwrap();
        let mut show = Command::new("openssl");
        show.args(["pkey", "-pubout", "-in"]).arg(&key).arg("-out").arg(&public);
        run(&mut show, LIMIT).unwrap().success().unwrap();
    }

    fn file(&self, name: &str, extension: &str) -> PathBuf {
        self.site.folder.join(format!("{name}.{extension}"))
    }

    fn config(&self) -> String {
        let operator = |name: &str, may: &str| {
            let key = self.file(name, "pem");
            format!("[[operator]]\nname = '{name}'\nkey = '{}'\nmay = [{may}]\n", key.display())
        };
        self.site.config() + &operator("fleet", ALL) + &operator("guest", "'self_test'")
    }

    fn start(&self) -> Appliance {
        let appliance = Appliance::start(&self.site.folder, &self.config()).unwrap();
        tests::wait::wait_for_port(self.site.dicom, LIMIT).unwrap();
        wait_until("the broker", LIMIT, || {
            appliance
                .log()
                .contains("subscribed filters=[\"sagitta/v1/north/mr1/cmd\"]")
                .then_some(())
        })
        .unwrap();
        appliance
    }

    /// `sagitta order`.
    fn order(&self, key: &str, order: &[&str]) -> String {
        let mut sign = Command::new(sagitta().unwrap());
        sign.arg("order").arg("--key").arg(self.file(key, "key"));
        sign.args(["--device", "north/mr1"]).args(order);
        run(&mut sign, LIMIT).unwrap().success().unwrap().stdout.trim().to_owned()
    }

    fn publish(&self, token: &str, more: &[&str]) {
        self.publish_to(self.site.broker.port, token, more);
    }

    fn publish_to(&self, port: u16, token: &str, more: &[&str]) {
        let port = port.to_string();
        let mut publish = Command::new("mosquitto_pub");
        publish.args(["-h", "localhost", "-p", &port, "-q", "1", "-V", "5"]);
        publish.args(["-t", "sagitta/v1/north/mr1/cmd", "-m", token]).args(more);
        run(&mut publish, LIMIT).unwrap().success().unwrap();
    }

    /// Every reply so far, in order.
    fn replies(&self) -> Vec<Value> {
        let messages = self.site.messages.messages().unwrap().into_iter();
        let replies = messages.filter(|(topic, _)| topic.ends_with("/reply"));
        replies.map(|(_, payload)| serde_json::from_str(&payload).unwrap()).collect()
    }

    /// Sends a command and waits for its reply.
    fn command(&self, key: &str, order: &[&str]) -> Value {
        let token = self.order(key, order);
        self.publish(&token, &[]);
        self.reply(&id(&token))
    }

    fn reply(&self, id: &str) -> Value {
        let find = || self.replies().into_iter().find(|reply| reply["command"] == id);
        wait_until("the reply", LIMIT, find).unwrap()
    }

    fn health(&self, wanted: impl Fn(&Value) -> bool) {
        wait_until("the health", LIMIT, || {
            let messages = self.site.messages.messages().unwrap().into_iter();
            let (_, payload) = messages.rev().find(|(topic, _)| topic.ends_with("/health"))?;
            let health: Value = serde_json::from_str(&payload).unwrap();
            wanted(&health["service"]).then_some(())
        })
        .unwrap();
    }
}

fn id(token: &str) -> String {
    let claims = token.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&base64url(claims)).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// RFC 4648 section 5, without padding.
fn base64url(text: &str) -> Vec<u8> {
    let value = |c: u8| DIGITS.iter().position(|&digit| digit == c).unwrap() as u32;
    let group = |group: &[u8]| {
        let bits = group.iter().fold(0, |bits, &c| bits << 6 | value(c)) << (6 * (4 - group.len()));
        bits.to_be_bytes()[1..group.len()].to_vec()
    };
    text.as_bytes().chunks(4).flat_map(group).collect()
}

fn to_base64url(bytes: &[u8]) -> String {
    let group = |group: &[u8]| {
        let bits = (0..3).fold(0, |bits, n| bits << 8 | u32::from(*group.get(n).unwrap_or(&0)));
        let digit = |n: usize| char::from(DIGITS[(bits >> (18 - 6 * n) & 63) as usize]);
        (0..=group.len()).map(digit).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

/// A token as the fleet's own tool would make it: by the standard and OpenSSL, without us.
fn signed_elsewhere(ordered: &Ordered, key: &str, claims: &Value) -> String {
    let header = json!({"typ": "JWT", "kid": "ours", "alg": "EdDSA"}).to_string();
    let claims = claims.to_string();
    let signed = [header, claims].map(|part| to_base64url(part.as_bytes())).join(".");
    let text = ordered.site.folder.join("signed");
    let signature = ordered.site.folder.join("signature");
    std::fs::write(&text, &signed).unwrap();
    let mut sign = Command::new("openssl");
    sign.args(["pkeyutl", "-sign", "-rawin", "-inkey"]).arg(ordered.file(key, "key"));
    sign.arg("-in").arg(&text).arg("-out").arg(&signature);
    run(&mut sign, LIMIT).unwrap().success().unwrap();
    format!("{signed}.{}", to_base64url(&std::fs::read(signature).unwrap()))
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn a_result_is_sent_again_made_again_and_the_device_drained_by_signed_commands() {
    let ordered = Ordered::new();
    let site = &ordered.site;
    let appliance = ordered.start();
    let series = site.folder.join("series");
    phantom(&series, &[]).unwrap();
    send(site.dicom, &series, Nagle::Off).unwrap().success().unwrap();
    let job = site.job(&series_uid(&series).unwrap()).unwrap();
    assert_eq!(site.settled(&job).unwrap()["state"], "done", "{}", appliance.log());
    let first = site.console.files().unwrap();
    assert_eq!(first.len(), OBJECTS);
    let emptied = || first.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let filled = |what: &str| {
        let all = || (site.console.files().unwrap() == first).then_some(());
        wait_until(what, LIMIT, all).unwrap_or_else(|error| panic!("{error}: {}", appliance.log()));
    };

    emptied();
    let reply = ordered.command("fleet", &["resend", job.as_str()]);
    assert_eq!((&reply["outcome"], &reply["order"]), (&"done".into(), &"resend".into()));
    assert_eq!(reply["operator"], "fleet");
    filled("the same objects again");

    emptied();
    let done = || site.heard(&job).unwrap().iter().filter(|(kind, _)| kind == "result").count();
    assert_eq!(done(), 1);
    assert_eq!(ordered.command("fleet", &["reprocess", job.as_str()])["outcome"], "done");
    wait_until("the second result", LIMIT, || (done() == 2).then_some(())).unwrap();
    filled("the objects of the repetition: the same");

    assert_eq!(ordered.command("guest", &["self-test"])["outcome"], "done");
    assert_eq!(ordered.command("fleet", &["drain"])["outcome"], "done");
    ordered.health(|service| service["draining"] == true);
    let refused = send(site.dicom, &series, Nagle::Off).unwrap();
    assert!(!refused.status.success(), "taken although drained");
    assert!(appliance.log().contains("no more series are taken"), "{}", appliance.log());
    assert_eq!(ordered.command("fleet", &["resume"])["outcome"], "done");
    send(site.dicom, &series, Nagle::Off).unwrap().success().unwrap();

    // What was ordered stands in the audit log, by whom, and the log is whole.
    let mut audit = Command::new(sagitta().unwrap());
    let log = site.folder.join("data/audit");
    audit.args(["audit", "verify"]).arg(log.join("audit.log"));
    run(&mut audit, LIMIT).unwrap().success().unwrap();
    let entries = std::fs::read_to_string(log.join("audit.log")).unwrap();
    for order in ["resend", "reprocess", "self_test", "drain", "resume"] {
        let line = entries.lines().find(|line| line.contains(&format!("\"order\":\"{order}\"")));
        let line = line.unwrap_or_else(|| panic!("{order}: {entries}"));
        let by = if order == "self_test" { "guest" } else { "fleet" };
        assert!(line.contains(&format!("\"operator\":\"{by}\"")), "{line}");
    }
}

#[test]
fn what_nobody_may_order_is_not_obeyed_and_says_why_to_who_signed_it() {
    let ordered = Ordered::new();
    let appliance = ordered.start();
    let nobody = "nwbvvvbbijtioowjsy6a";
    let reason = |key: &str, order: &[&str]| {
        let reply = ordered.command(key, order);
        assert_eq!(reply["outcome"], "failed", "{reply}");
        assert!(reply["action"].as_str().is_some_and(|action| !action.is_empty()), "{reply}");
        reply["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason("guest", &["drain"]), "not_allowed");
    assert_eq!(reason("fleet", &["reprocess", nobody]), "no_such_job");
    assert_eq!(reason("fleet", &["cancel", nobody]), "no_such_job");
    assert_eq!(reason("fleet", &["resend", nobody]), "no_result");
    let elsewhere = ["resend", nobody, "--destination", "elsewhere"];
    assert_eq!(reason("fleet", &elsewhere), "no_such_destination");

    let now = now_s();
    let claims = |id: &str, device: &str, iat: u64, exp: u64, kind: &str| json!({"jti": id, "aud": device, "iat": iat, "exp": exp, "order": {"kind": kind}});
    for (claims, reason) in [
        (claims("a-1", "north/mr2", now, now + 60, "drain"), "wrong_device"),
        (claims("a-2", "north/mr1", now - 900, now - 600, "drain"), "expired"),
        (claims("a-3", "north/mr1", now + 600, now + 900, "drain"), "not_yet_valid"),
        (claims("a-4", "north/mr1", now, now + 86_400, "drain"), "valid_too_long"),
        (claims("a-5", "north/mr1", now, now + 60, "format_disk"), "unknown_order"),
    ] {
        ordered.publish(&signed_elsewhere(&ordered, "fleet", &claims), &[]);
        let reply = ordered.reply(claims["jti"].as_str().unwrap());
        assert_eq!(reply["reason"], reason, "{reply}");
    }

    // By a key that nobody has listed, changed under way, or no token at all: counted, and not answered.
    let answered = ordered.replies().len();
    let drain = claims("b-1", "north/mr1", now, now + 60, "drain");
    let good = signed_elsewhere(&ordered, "fleet", &drain);
    let other = to_base64url(drain.to_string().replace("b-1", "b-2").as_bytes());
    let mut parts: Vec<&str> = good.split('.').collect();
    parts[1] = &other;
    ordered.publish(&signed_elsewhere(&ordered, "stranger", &drain), &[]);
    ordered.publish(&parts.join("."), &[]);
    ordered.publish("drain", &[]);
    ordered.publish(&good, &["-r"]);
    ordered.health(|service| service["commands_ignored"] == 3);

    // That one was good: it was retained after we had subscribed, and came as any other. Again, it is none.
    assert_eq!(ordered.reply("b-1")["outcome"], "done");
    ordered.publish(&good, &[]);
    ordered.health(|service| service["commands_ignored"] == 4);
    assert_eq!(ordered.replies().len(), answered + 1);
    ordered.health(|service| service["draining"] == true);
    drop(appliance);

    // After a restart the broker gives the retained one again, to nobody's profit: it is ignored, and takes effect no more.
    let _appliance = ordered.start();
    ordered.health(|service| service["commands_ignored"] == 1);
    ordered.health(|service| service["draining"] == false);
    assert_eq!(ordered.replies().len(), answered + 1);
}

/// A destination that is away holds a result back; who cancels the job has peace, over kill -9 too, until it is ordered again.
#[test]
fn a_cancelled_job_stays_cancelled_over_a_kill_until_it_is_made_again() {
    let mut ordered = Ordered::new();
    let series = ordered.site.folder.join("series");
    phantom(&series, &[]).unwrap();
    ordered.site.console.stop();
    let appliance = ordered.start();
    let site = &ordered.site;
    send(site.dicom, &series, Nagle::Off).unwrap().success().unwrap();
    let job = site.job(&series_uid(&series).unwrap()).unwrap();
    site.state(&job, &["sending"]).unwrap();
    assert_eq!(ordered.command("fleet", &["resend", job.as_str()])["reason"], "job_open");
    assert_eq!(ordered.command("fleet", &["cancel", job.as_str()])["outcome"], "done");
    let ended = site.settled(&job).unwrap();
    assert_eq!((&ended["state"], &ended["code"]), (&"failed".into(), &"cancelled".into()));
    assert_eq!(ordered.command("fleet", &["cancel", job.as_str()])["reason"], "job_ended");
    appliance.kill();

    ordered.site.console.restart().unwrap();
    let site = &ordered.site;
    let told = |state: &str| {
        let heard = site.heard(&job).unwrap();
        heard.iter().filter(|(_, message)| message["state"] == state).count()
    };
    let failed = told("failed");
    let appliance = ordered.start();
    wait_until("the cancelled job", LIMIT, || (told("failed") > failed).then_some(()))
        .unwrap_or_else(|error| panic!("{error}: {}", appliance.log()));
    assert!(site.console.files().unwrap().is_empty(), "a cancelled result was sent");

    assert_eq!(ordered.command("fleet", &["reprocess", job.as_str()])["outcome"], "done");
    site.state(&job, &["done"]).unwrap();
    assert_eq!(site.console.files().unwrap().len(), OBJECTS);
}

/// A model that is on the device makes the results after an ordered restart, and the one before it after another.
#[test]
fn a_model_is_promoted_and_rolled_back_from_far_away() {
    let ordered = Ordered::new();
    let folder = ordered.site.model("floats").unwrap();
    let model = |arguments: &[&str]| {
        let mut command = Command::new(sagitta().unwrap());
        let config = ordered.site.folder.join("sagitta.toml");
        command.arg("model").args(arguments).env("SAGITTA_CONFIG", config);
        run(&mut command, LIMIT).unwrap().success().unwrap().stdout
    };
    model(&["freeze", folder.to_str().unwrap()]);
    let mut appliance = ordered.start();
    for (order, reason) in [
        (&["model-promote", "other"][..], "no_such_model"),
        (&["model-promote", "built-in"], "model_active"),
        (&["model-rollback"], "no_previous_model"),
    ] {
        assert_eq!(ordered.command("fleet", order)["reason"], reason, "{order:?}");
    }
    assert_eq!(ordered.command("guest", &["model-promote", "floats"])["reason"], "not_allowed");

    let roles = |order: &[&str]| {
        assert_eq!(ordered.command("fleet", order)["outcome"], "done");
        let listed: Value = serde_json::from_str(&model(&["list", "--json"])).unwrap();
        let models = listed["models"].as_array().unwrap().clone();
        let role = |role: &str| {
            let found = models.iter().find(|model| model["role"] == role);
            found.map(|model| model["model"].as_str().unwrap().to_owned())
        };
        [role("active"), role("shadow")].map(Option::unwrap_or_default)
    };
    assert_eq!(roles(&["model-shadow", "floats"]), ["built-in", "floats"]);
    assert_eq!(roles(&["model-shadow"]), ["built-in", ""]);
    assert_eq!(roles(&["model-promote", "floats"]), ["floats", ""]);
    assert_eq!(ordered.command("fleet", &["restart"])["outcome"], "done");
    assert_eq!(appliance.process.wait(LIMIT).unwrap(), Some(0), "{}", appliance.log());

    let mut appliance = ordered.start();
    let stays = || appliance.log().contains("passed its self-test: it stays").then_some(());
    wait_until("the model's first self-test", LIMIT, stays).unwrap();
    assert_eq!(roles(&["model-rollback"]), ["built-in", ""]);
    assert_eq!(ordered.command("fleet", &["restart"])["outcome"], "done");
    assert_eq!(appliance.process.wait(LIMIT).unwrap(), Some(0), "{}", appliance.log());
}

/// The bridge of `docs/fleet.md`, but for TLS: the fleet's broker hears a whole job, and a command that comes to it is obeyed.
#[test]
fn the_fleets_broker_hears_all_by_a_bridge_and_brings_commands() {
    let mut ordered = Ordered::new();
    let fleet = Broker::start().unwrap();
    let page = std::fs::read_to_string(root().join("docs/fleet.md")).unwrap();
    let bridge = page.split("```").find(|block| block.contains("connection fleet")).unwrap();
    let plain = bridge.lines().filter(|line| !line.contains("file /"));
    let lines: Vec<&str> = plain.collect();
    let address = format!("127.0.0.1:{}", fleet.port);
    let lines = lines.join("\n").replace("fleet.example:8883", &address) + "\n";
    let far = fleet.subscribe("sagitta/#").unwrap();
    ordered.site.broker.configure(&lines).unwrap();
    ordered.site.messages = ordered.site.broker.subscribe("sagitta/#").unwrap();
    let appliance = ordered.start();
    let site = &ordered.site;
    let series = site.folder.join("series");
    phantom(&series, &[]).unwrap();
    send(site.dicom, &series, Nagle::Off).unwrap().success().unwrap();
    let job = site.job(&series_uid(&series).unwrap()).unwrap();
    assert_eq!(site.settled(&job).unwrap()["state"], "done", "{}", appliance.log());
    let heard = |end: &str| {
        let there = || far.messages().unwrap().into_iter().find(|(topic, _)| topic.ends_with(end));
        wait_until(end, LIMIT, there).unwrap()
    };
    heard(&format!("{job}/result"));
    heard("north/mr1/state");

    let token = ordered.order("fleet", &["drain"]);
    ordered.publish_to(fleet.port, &token, &[]);
    let (_, reply) = heard(&format!("cmd/{}/reply", id(&token)));
    let reply: Value = serde_json::from_str(&reply).unwrap();
    assert_eq!(reply["outcome"], "done", "{reply}");
    ordered.health(|service| service["draining"] == true);
}
