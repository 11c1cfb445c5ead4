//! The page of a real service in a real browser, played by `tests/peers/watch_page.py`: logins and roles, a series and its
//! overlay without a reload, an alarm and its acknowledgement, keys, a phone's width, and a console without a complaint.
//!
//! `SAGITTA_PICTURES` names a folder for the pictures of the pages, to be looked at.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tests::{Appliance, Site, phantom, python, root, run, sagitta, wait_until};

/// For a whole visit on a busy machine: a job, an alarm that waits for thirty seconds, three pages.
const VISIT: Duration = Duration::from_secs(400);
/// For a message that was sent to come.
const MESSAGE: Duration = Duration::from_secs(30);
const USERS: [(&str, &str, &str); 2] =
    [("vera", "viewer", "look only please"), ("egon", "engineer", "may acknowledge")];

/// A user by the command of the site.
fn add(file: &Path, (name, role, password): (&str, &str, &str)) {
    let mut command = Command::new(sagitta().unwrap());
    command.args(["user", "add", name, "--role", role, "--file"]).arg(file);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_series_an_alarm_and_two_roles_before_ones_eyes() {
    let site = Site::new().unwrap();
    let users = site.folder.join("users.toml");
    USERS.into_iter().for_each(|user| add(&users, user));
    let named = format!("[dashboard]\nusers = '{}'\n", users.display());
    // A supervisor that is not there is an alarm after thirty seconds.
    let mcu = format!("[mcu]\nport = '{}'\n", site.folder.join("no-port").display());
    let config = site.config().replace("[dashboard]\n", &named) + &mcu;
    // Another device of the site, which the broker remembers.
    let port = site.broker.port.to_string();
    let mut publish = Command::new("mosquitto_pub");
    publish.args(["-p", &port, "-r", "-q", "1", "-t", "sagitta/v1/north/mr2/state"]);
    publish.args(["-m", r#"{"v":1,"state":"lost","session":3,"software":"0.1.0"}"#]);
    run(&mut publish, MESSAGE).unwrap().success().unwrap();
    let appliance = Appliance::ready(&site.folder, &config).unwrap();
    let series = site.folder.join("series");
    phantom(&series, &["--seed", "7"]).unwrap();

    let pictures = std::env::var_os("SAGITTA_PICTURES").map(PathBuf::from);
    let pictures = pictures.unwrap_or_else(|| site.folder.path().to_owned());
    let mut visit = Command::new(python().unwrap());
    visit.arg(root().join("tests/peers/watch_page.py"));
    visit.args([format!("http://127.0.0.1:{}/", site.page), site.dicom.to_string()]);
    let visited = run(visit.arg(&series).arg(&pictures), VISIT).unwrap();
    assert!(visited.status.success(), "{}\n{}", visited.stderr, appliance.log());

    // What was done in the browser is told to everybody.
    let told = wait_until("the acknowledgement", MESSAGE, || {
        let messages = site.messages.messages().ok()?;
        let (_, alarm) =
            messages.into_iter().rfind(|(topic, _)| topic.ends_with("/alarms/mcu_link"))?;
        let alarm: Value = serde_json::from_str(&alarm).ok()?;
        (alarm["acknowledged"] == true).then_some(alarm)
    });
    assert_eq!(told.unwrap()["active"], true, "the supervisor is still away");
}
