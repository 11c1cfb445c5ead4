//! A configuration on trial, as systemd runs the lines of the unit: one that works stays, one with which the service cannot
//! start is taken back by the next start.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tests::wait::free_port;
use tests::{Finished, Guard, Site, root, run, sagitta};

const LIMIT: Duration = Duration::from_secs(60);

/// systemd in small: what it does with one unit of `Type=notify`.
struct Systemd {
    folder: PathBuf,
    config: PathBuf,
    socket: UnixDatagram,
}

impl Systemd {
    fn new(folder: &Path) -> Systemd {
        let socket = UnixDatagram::bind(folder.join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Systemd { folder: folder.to_owned(), config: folder.join("sagitta.toml"), socket }
    }

    /// The command of one key of the unit, on this configuration.
    fn command(&self, key: &str) -> Command {
        let unit = std::fs::read_to_string(root().join("runtime/packaging/sagitta.service"));
        let unit = unit.unwrap();
        let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let mut words = line.unwrap().trim_start_matches(['-', '+']).split(' ');
        assert_eq!(words.next(), Some("/usr/bin/sagitta"));
        let mut command = Command::new(sagitta().unwrap());
        command.env("NOTIFY_SOCKET", self.folder.join("notify"));
        command.args(words.map(|word| match word {
            "/etc/sagitta/sagitta.toml" => self.config.to_str().unwrap(),
            word => word,
        }));
        command
    }

    /// One start: the service when it became ready, nothing when it ended before.
    fn start(&self) -> Option<Guard> {
        let took = run(&mut self.command("ExecStartPre"), LIMIT).unwrap();
        print!("{}", took.stderr);
        let mut service =
            Guard::start(&mut self.command("ExecStart"), &self.folder.join("log")).unwrap();
        let mut heard = [0; 64];
        loop {
            match self.socket.recv(&mut heard) {
                Ok(length) if heard[..length].starts_with(b"READY=1") => break,
                _ if !service.is_running().unwrap() => return None,
                _ => {}
            }
        }
        run(&mut self.command("ExecStartPost"), LIMIT).unwrap().success().unwrap();
        Some(service)
    }

    fn config(&self, arguments: &[&str]) -> Finished {
        let mut command = Command::new(sagitta().unwrap());
        command.arg("config").args(arguments).arg("--config").arg(&self.config);
        run(&mut command, LIMIT).unwrap()
    }

    fn ending(&self) -> Value {
        let text = std::fs::read(self.folder.join("sagitta.toml.outcome")).unwrap();
        serde_json::from_slice::<Value>(&text).unwrap()["ending"].clone()
    }
}

#[test]
fn a_configuration_that_works_stays_and_one_that_does_not_is_taken_back() {
    let site = Site::new().unwrap();
    let systemd = Systemd::new(site.folder.path());
    let text = site.config();
    std::fs::write(&systemd.config, &text).unwrap();
    let service = systemd.start().unwrap();

    // A dry run says what would change; a fault is named, with whose move it is.
    let file = site.folder.join("new.toml");
    let new = file.to_str().unwrap();
    let title = text.replace("calling_ae = 'SAGITTA'", "calling_ae = 'SAGITTA2'");
    std::fs::write(&file, &title).unwrap();
    let told = systemd.config(&["check", new]).success().unwrap().stdout;
    assert_eq!(told, "destination[console].calling_ae: \"SAGITTA\" -> \"SAGITTA2\"\n");
    std::fs::write(&file, text.replace("[complete]", "[completed]")).unwrap();
    let told = systemd.config(&["apply", new]);
    assert_eq!(told.status.code(), Some(1));
    assert!(told.stderr.contains("unknown field `completed`"), "{told:?}");
    assert!(told.stderr.trim_end().ends_with("the site's move"), "{told:?}");

    std::fs::write(&file, &title).unwrap();
    systemd.config(&["apply", "--no-restart", new]).success().unwrap();
    drop(service);
    let service = systemd.start().unwrap();
    assert_eq!(systemd.ending(), "kept");
    assert_eq!(std::fs::read_to_string(&systemd.config).unwrap(), title);

    // The configuration is right, and the service cannot start with it: somebody has the port.
    let port = free_port().unwrap();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let bind = |port: u16| format!("[dicom]\nbind = '127.0.0.1:{port}'");
    std::fs::write(&file, title.replace(&bind(site.dicom), &bind(port))).unwrap();
    systemd.config(&["apply", "--no-restart", new]).success().unwrap();
    drop(service);
    assert!(systemd.start().is_none(), "the port is in use");
    let service = systemd.start().unwrap();
    assert_eq!(systemd.ending(), "taken_back");
    assert_eq!(std::fs::read_to_string(&systemd.config).unwrap(), title);

    systemd.config(&["rollback", "--no-restart"]).success().unwrap_err();
    drop(service);
}
