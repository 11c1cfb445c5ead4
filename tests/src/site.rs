//! The appliance as a site runs it: `sagitta run` with a configuration file, the site's broker with a subscriber that
//! hears everything, and a console that takes every object.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sagitta::identity::JobId;
use serde_json::Value;

use crate::peers::{Broker, Guard, StoreScp, Subscriber};
use crate::place::{TempDir, root, sagitta};
use crate::shell::run;
use crate::wait::{free_port, wait_for_port, wait_until};

/// For the start of the service, which loads its net.
const START: Duration = Duration::from_secs(30);
/// For one series on two busy cores; alone it takes seconds.
pub const JOB: Duration = Duration::from_secs(120);
/// What the console gets of a series of so many slices: derived MR and secondary captures, a slice each; presentation state,
/// two segmentations, structured report.
pub const fn objects(slices: usize) -> usize {
    2 * slices + 4
}

/// The title of the console and every topic of the site.
const CONSOLE: &str = "CONSOLE";
const TOPICS: &str = "sagitta/v1/north/mr1/#";

/// Broker, subscriber, console and the folders of one appliance.
#[derive(Debug)]
pub struct Site {
    pub folder: TempDir,
    pub broker: Broker,
    pub console: StoreScp,
    pub messages: Subscriber,
    pub dicom: u16,
    pub page: u16,
}

impl Site {
    /// Starts the peers; the appliance is started by [`Site::start`].
    pub fn new() -> Result<Site> {
        let folder = TempDir::new()?;
        std::fs::create_dir(folder.join("console")).context("make the console's folder")?;
        let console = StoreScp::start(CONSOLE, &folder.join("console"))?;
        let broker = Broker::start()?;
        let messages = broker.subscribe(TOPICS)?;
        let (dicom, page) = (free_port()?, free_port()?);
        Ok(Site { folder, broker, console, messages, dicom, page })
    }

    /// A configuration that names these peers. Series with gaps are given up after one second, so that tests are
    /// quick; a full disk of the machine that tests deletes nothing.
    pub fn config(&self) -> String {
        let Site { folder, broker, console, dicom, page, .. } = self;
        let (data, broker, console) = (folder.join("data"), broker.port, console.port);
        format!(
            "data = '{}'\n\
             [mqtt]\nsite = 'north'\ndevice = 'mr1'\n\
             broker = {{ kind = 'external', host = '127.0.0.1', port = {broker} }}\n\
             [dicom]\nbind = '127.0.0.1:{dicom}'\n\
             [complete]\nincomplete_ms = 1000\n\
             [retention]\nhigh_water_percent = 100\nrefuse_percent = 100\n\
             [dashboard]\nbind = '127.0.0.1:{page}'\n\
             [[destination]]\nname = 'console'\naddress = '127.0.0.1:{console}'\n\
             called_ae = '{CONSOLE}'\ncalling_ae = 'SAGITTA'\n\
             profile = ['mr_derived', 'sc_rgb', 'gsps', 'seg_semantic', 'seg_instances',\n\
             'sr_measurements']\n",
            data.display()
        )
    }

    /// [`Site::config`] with these lines more in `[dicom]`.
    pub fn config_with(&self, dicom: &str) -> String {
        self.config().replace("[complete]\n", &format!("{dicom}\n[complete]\n"))
    }

    /// What `sagitta doctor` finds of one part under this configuration.
    pub fn doctor(&self, config: &str, part: &str) -> Result<Vec<Value>> {
        let path = self.folder.join("asked.toml");
        std::fs::write(&path, config).with_context(|| format!("write {}", path.display()))?;
        let mut command = Command::new(sagitta()?);
        command.args(["doctor", "--json", "--config"]).arg(&path);
        // What is wrong is told by its exit code, too.
        let findings: Vec<Value> = serde_json::from_str(&run(&mut command, START)?.stdout)?;
        Ok(findings.into_iter().filter(|finding| finding["part"] == part).collect())
    }

    /// A model of the device: the shipped nets in floats only. Their int8 forms are what the device runs by itself.
    pub fn model(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join("data/models").join(name);
        std::fs::create_dir_all(&folder).context("make the folder of a model")?;
        for file in ["semantic.toml", "semantic.onnx", "instance.toml", "instance.onnx"] {
            let shipped = root().join("models/weights").join(file);
            std::fs::copy(shipped, folder.join(file)).with_context(|| file.to_owned())?;
        }
        Ok(folder)
    }

    /// Starts the appliance with [`Site::config`] and waits until it listens.
    pub fn start(&self) -> Result<Appliance> {
        let appliance = Appliance::start(&self.folder, &self.config())?;
        wait_for_port(self.dicom, START).with_context(|| appliance.log())?;
        Ok(appliance)
    }

    /// Brings the broker back and subscribes before the appliance can publish: it is held meanwhile.
    pub fn broker_returns(&mut self, appliance: &Appliance) -> Result<()> {
        appliance.process.signal("STOP")?;
        self.broker.restart()?;
        self.messages = self.broker.subscribe(TOPICS)?;
        appliance.process.signal("CONT")
    }

    /// The folder of the appliance's results.
    pub fn results(&self, job: &JobId) -> PathBuf {
        self.folder.join("data/results").join(job.as_str()).join("1")
    }

    /// The name the running appliance gives a series.
    pub fn job(&self, series_instance_uid: &str) -> Result<JobId> {
        let path = self.folder.join("data/site.key");
        let key = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(JobId::new(&key, series_instance_uid))
    }

    /// What the subscriber heard of `job`, in order: the last level of the topic (`status`, `result`) and the payload.
    pub fn heard(&self, job: &JobId) -> Result<Vec<(String, Value)>> {
        let middle = format!("/jobs/{job}/");
        let mut heard = Vec::new();
        for (topic, payload) in self.messages.messages()? {
            if let Some((_, kind)) = topic.split_once(&middle) {
                heard.push((kind.to_owned(), serde_json::from_str(&payload)?));
            }
        }
        Ok(heard)
    }

    /// Waits until nothing more will happen to `job`; the last status.
    pub fn settled(&self, job: &JobId) -> Result<Value> {
        self.state(job, &["done", "refused", "failed", "incomplete"])
    }

    /// Waits until the last status of `job` names one of `states`.
    pub fn state(&self, job: &JobId, states: &[&str]) -> Result<Value> {
        let name = format!("one of {states:?} for job {job}");
        let found = wait_until(&name, JOB, || {
            let heard = self.heard(job).ok()?;
            let (_, last) = heard.into_iter().rfind(|(kind, _)| kind == "status")?;
            states.iter().any(|state| last["state"] == **state).then_some(last)
        });
        found.with_context(|| format!("heard {:#?}", self.messages.messages()))
    }

    /// One page of the appliance, as text.
    pub fn page(&self, path: &str) -> Result<String> {
        get(self.page, path)
    }

    /// Says on the page that an alarm was seen; the status.
    pub fn acknowledge(&self, alarm: &str) -> Result<String> {
        let mut stream =
            TcpStream::connect(("127.0.0.1", self.page)).context("connect to the page")?;
        let head =
            "Host: localhost\r\nX-Sagitta: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        write!(stream, "POST /api/alarms/{alarm}/acknowledge HTTP/1.1\r\n{head}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        answer.split(' ').nth(1).map(str::to_owned).context("an answer without a status")
    }
}

/// The body of an HTTP answer; a stream of events is cut off after a quarter of a second of silence.
pub fn get(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("connect to the page")?;
    stream.set_read_timeout(Some(Duration::from_millis(250)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&part[..n]),
            // Silent before the first byte: it is still drawing.
            Err(_) if answer.is_empty() => {}
            Err(_) => break,
        }
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    match text.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => bail!("{path} was answered with {text}"),
    }
}

/// A running `sagitta run`.
#[derive(Debug)]
pub struct Appliance {
    pub process: Guard,
    log: PathBuf,
}

impl Appliance {
    /// Starts `sagitta run` with this configuration; its files lie in `folder`. Does not wait.
    pub fn start(folder: &TempDir, config: &str) -> Result<Appliance> {
        Appliance::start_with(folder, config, &[])
    }

    /// Starts it and waits until it says that it is ready.
    pub fn ready(folder: &TempDir, config: &str) -> Result<Appliance> {
        let appliance = Appliance::start(folder, config)?;
        let ready = || appliance.log().contains("ready").then_some(());
        wait_until("ready", START, ready).with_context(|| appliance.log())?;
        Ok(appliance)
    }

    /// The same as [`Appliance::start`] with variables of the environment.
    pub fn start_with(
        folder: &TempDir,
        config: &str,
        environment: &[(&str, &str)],
    ) -> Result<Appliance> {
        let path = folder.join("sagitta.toml");
        std::fs::write(&path, config).with_context(|| format!("write {}", path.display()))?;
        let log = unused(folder, "log");
        let mut command = Command::new(sagitta()?);
        command.arg("run").arg("--config").arg(&path).envs(environment.iter().copied());
        Ok(Appliance { process: Guard::start(&mut command, &log)?, log })
    }

    /// Everything it printed so far, on both outputs.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// kill -9, as a power cut would end it.
    pub fn kill(self) {
        drop(self.process);
    }
}

/// A name no earlier run of the appliance has used.
fn unused(folder: &TempDir, name: &str) -> PathBuf {
    let paths = (0..).map(|n| folder.join(format!("{name}.{n}")));
    paths.into_iter().find(|path| !path.exists()).unwrap_or_else(|| folder.join(name))
}

/// `SeriesInstanceUID` of the first DICOM file of `folder`.
pub fn series_uid(folder: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(|| format!("read {}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let first = files.first().with_context(|| format!("{} is empty", folder.display()))?;
    let object = dicom_object::open_file(first)?;
    let uid = object.element_by_name("SeriesInstanceUID")?.to_str()?.into_owned();
    Ok(uid.trim_end_matches('\0').to_owned())
}
