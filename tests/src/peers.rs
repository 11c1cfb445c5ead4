//! Real peers as child processes: DCMTK's `storescp`, Eclipse `mosquitto`. Each is killed when dropped.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::certificates::Pair;
use crate::place::TempDir;
use crate::wait::{free_port, wait_for_port, wait_until};

/// Longest start of a peer on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A child process that does not outlive its test.
#[derive(Debug)]
pub struct Guard(Child);

impl Guard {
    /// Starts `command` with its output in `log`, where a failed test can be read.
    pub fn start(command: &mut Command, log: &Path) -> Result<Guard> {
        let name = command.get_program().to_string_lossy().into_owned();
        let file =
            std::fs::File::create(log).with_context(|| format!("create {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {name}; tests/run installs the peers"))?;
        Ok(Guard(child))
    }

    /// The process id, for signals.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends a signal by name: `TERM`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) -> Result<()> {
        let (option, id) = (format!("-{name}"), self.id().to_string());
        let status = Command::new("kill").args([option, id]).status().context("start kill")?;
        anyhow::ensure!(status.success(), "kill -{name} failed: {status}");
        Ok(())
    }

    /// Waits for the process to end by itself; its exit code, `None` after a signal.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<i32>> {
        let status =
            wait_until("the end of the process", limit, || self.0.try_wait().transpose())??;
        Ok(status.code())
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_none())
    }
}

impl Guard {
    /// kill -9.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.kill();
    }
}

/// DCMTK's storage receiver: takes everything, keeps the bytes as they came.
#[derive(Debug)]
pub struct StoreScp {
    process: Guard,
    log: TempDir,
    pub port: u16,
    ae_title: String,
    received: PathBuf,
    /// Options for TLS: none, or its key and certificate and whom it believes.
    tls: Vec<OsString>,
}

impl StoreScp {
    /// Listens on a free port as `ae_title` and stores into `received`, which must exist.
    pub fn start(ae_title: &str, received: &Path) -> Result<StoreScp> {
        let (port, log, ae_title) = (free_port()?, TempDir::new()?, ae_title.to_owned());
        let process = store_scp(port, &ae_title, received, &[], &log)?;
        let received = received.to_owned();
        Ok(StoreScp { process, log, port, ae_title, received, tls: Vec::new() })
    }

    /// Comes back with TLS, and wants a certificate from who sends.
    pub fn secure(&mut self, key: &Path, certificate: &Path, authority: &Path) -> Result<()> {
        // Without a certificate of the sender's it takes nothing: its default.
        let options: [&OsStr; 5] = [
            "+tls".as_ref(),
            key.as_ref(),
            certificate.as_ref(),
            "+cf".as_ref(),
            authority.as_ref(),
        ];
        self.tls = options.map(OsStr::to_owned).to_vec();
        self.stop();
        self.restart()
    }

    /// Goes away.
    pub fn stop(&mut self) {
        self.process.kill();
    }

    /// Comes back on its port.
    pub fn restart(&mut self) -> Result<()> {
        self.process = store_scp(self.port, &self.ae_title, &self.received, &self.tls, &self.log)?;
        Ok(())
    }

    /// The files stored so far, in order of name.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(&self.received)
            .with_context(|| format!("read {}", self.received.display()))?;
        let mut files = Vec::new();
        for entry in entries {
            files.push(entry?.path());
        }
        files.sort();
        Ok(files)
    }
}

fn store_scp(
    port: u16,
    ae_title: &str,
    received: &Path,
    tls: &[OsString],
    log: &TempDir,
) -> Result<Guard> {
    let mut command = Command::new("storescp");
    command.args(tls);
    command.args(["--aetitle", ae_title, "--accept-all", "--bit-preserving"]);
    command.arg("--output-directory").arg(received).arg(port.to_string());
    let process = Guard::start(&mut command, &log.join("storescp.log"))?;
    wait_for_port(port, START_LIMIT)?;
    Ok(process)
}

/// Eclipse Mosquitto as a site's broker, in memory only: for everybody, until it is made secure.
#[derive(Debug)]
pub struct Broker {
    process: Guard,
    directory: TempDir,
    pub port: u16,
    /// Lines of its configuration that say who may do what.
    access: String,
    /// How our subscriber shows who it is.
    subscriber: Vec<OsString>,
}

impl Broker {
    pub fn start() -> Result<Broker> {
        let (port, directory) = (free_port()?, TempDir::new()?);
        let (access, subscriber) = ("allow_anonymous true\n".to_owned(), Vec::new());
        let process = mosquitto(port, &directory, &access)?;
        Ok(Broker { process, directory, port, access, subscriber })
    }

    /// Comes back with TLS, wants a certificate from everybody, and lets each write and read what `rules` (lines of an ACL
    /// file) say of its name.
    pub fn secure(
        &mut self,
        own: &Pair,
        authority: &Path,
        rules: &str,
        reader: &Pair,
    ) -> Result<()> {
        let acl = self.directory.join("acl");
        std::fs::write(&acl, rules).context("write the broker's rules")?;
        self.access = format!(
            "cafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n\
             use_identity_as_username true\nacl_file {}\n",
            authority.display(),
            own.certificate.display(),
            own.key.display(),
            acl.display()
        );
        let options: [&OsStr; 6] = [
            "--cafile".as_ref(),
            authority.as_ref(),
            "--cert".as_ref(),
            reader.certificate.as_ref(),
            "--key".as_ref(),
            reader.key.as_ref(),
        ];
        self.subscriber = options.map(OsStr::to_owned).to_vec();
        self.stop();
        self.restart()
    }

    /// Comes back with more lines in its configuration.
    pub fn configure(&mut self, lines: &str) -> Result<()> {
        self.access += lines;
        self.stop();
        self.restart()
    }

    /// Goes away; it forgets everything.
    pub fn stop(&mut self) {
        self.process.kill();
    }

    /// Comes back on its port.
    pub fn restart(&mut self) -> Result<()> {
        self.process = mosquitto(self.port, &self.directory, &self.access)?;
        Ok(())
    }

    /// Subscribes to `topic` (wildcards allowed) with `mosquitto_sub`, and waits until the broker has confirmed it.
    pub fn subscribe(&self, topic: &str) -> Result<Subscriber> {
        let directory = TempDir::new()?;
        let log = directory.join("messages");
        // Into a file it writes by blocks, and only a message flushes: a subscription without one would not be seen.
        let mut command = Command::new("stdbuf");
        command.args([
            "-oL",
            "mosquitto_sub",
            "-d",
            "-q",
            "1",
            "-V",
            "5",
            "-F",
            "%t %p",
            "-p",
            &self.port.to_string(),
        ]);
        command.args(&self.subscriber);
        let process = Guard::start(command.args(["-h", "localhost", "-t", topic]), &log)?;
        let subscriber = Subscriber { _process: process, _directory: directory, log };
        wait_until("the subscription", START_LIMIT, || {
            let text = std::fs::read_to_string(&subscriber.log).ok()?;
            text.contains("Subscribed (mid").then_some(())
        })?;
        Ok(subscriber)
    }
}

fn mosquitto(port: u16, directory: &TempDir, access: &str) -> Result<Guard> {
    let config = directory.join("mosquitto.conf");
    // Started by root it would become a user who may not read our files.
    let text = format!("user root\nlistener {port} 127.0.0.1\npersistence false\n{access}");
    std::fs::write(&config, text).with_context(|| format!("write {}", config.display()))?;
    // Debian installs daemons where a plain user's PATH does not look.
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("mosquitto");
    command.env("PATH", format!("{path}:/usr/sbin")).arg("-c").arg(&config);
    let process = Guard::start(&mut command, &directory.join("mosquitto.log"))?;
    wait_for_port(port, START_LIMIT)?;
    Ok(process)
}

/// A running subscription.
#[derive(Debug)]
pub struct Subscriber {
    _process: Guard,
    _directory: TempDir,
    log: PathBuf,
}

impl Subscriber {
    /// What came so far: topic and payload, in order. Payloads must be one line of text.
    pub fn messages(&self) -> Result<Vec<(String, String)>> {
        let text = std::fs::read_to_string(&self.log)
            .with_context(|| format!("read {}", self.log.display()))?;
        // The last line may still be under way.
        let text = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        // `mosquitto_sub -d` tells of packets on lines of its own; none of our topics begins so.
        let packets = ["Client ", "Subscribed (mid"];
        let lines = text.lines().filter(|line| !packets.iter().any(|p| line.starts_with(p)));
        let split = lines.filter_map(|line| line.split_once(' '));
        Ok(split.map(|(topic, payload)| (topic.to_owned(), payload.to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::run;

    #[test]
    fn storescp_answers_an_echo() {
        let received = TempDir::new().unwrap();
        let peer = StoreScp::start("PACS", received.path()).unwrap();
        let mut echo = Command::new("echoscu");
        echo.args(["--call", "PACS", "127.0.0.1", &peer.port.to_string()]);
        run(&mut echo, START_LIMIT).unwrap().success().unwrap();
        assert!(peer.files().unwrap().is_empty());
    }

    #[test]
    fn mosquitto_keeps_a_retained_message_and_dies_with_its_guard() {
        let broker = Broker::start().unwrap();
        let port = broker.port.to_string();
        let mut publish = Command::new("mosquitto_pub");
        publish.args(["-p", &port, "-t", "a/b", "-m", "hello", "-r", "-q", "1"]);
        run(&mut publish, START_LIMIT).unwrap().success().unwrap();
        let subscriber = broker.subscribe("a/#").unwrap();
        let seen = wait_until("the message", START_LIMIT, || {
            let messages = subscriber.messages().unwrap();
            (!messages.is_empty()).then_some(messages)
        });
        assert_eq!(seen.unwrap(), [("a/b".to_owned(), "hello".to_owned())]);
        drop(broker);
        run(&mut publish, START_LIMIT).unwrap().success().unwrap_err();
    }
}
