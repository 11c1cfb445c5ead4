//! The whole service with `engine = "tensorrt"` on a machine without GPU: the mock of our shim's interface, with `simd`
//! behind it and failures on demand, and what each failure does to a job.
//!
//! TensorRT itself is met in `models/tests/tensorrt.rs`.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tests::series::Nagle;
use tests::site::series_uid;
use tests::wait::wait_for_port;
use tests::{
    Appliance, Finished, Site, TempDir, mock_shim, phantom, run, sagitta, send, wait_until,
};

/// For a build with its golden case, or a series, on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);
/// Asks the mock for a failure.
const FAULT: &str = "SAGITTA_MOCK_TENSORRT";

/// A machine with the mock, a configuration that wants TensorRT, and one series to segment.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Machine {
        let folder = TempDir::new().unwrap();
        mock_shim(folder.path()).unwrap();
        let text = format!(
            "data = '{0}/data'\n[mqtt]\nsite = 'north'\ndevice = 'mr1'\n\
             [jobs]\nengine = 'tensorrt'\nshims = '{0}'\n",
            folder.path().display()
        );
        std::fs::write(folder.join("sagitta.toml"), text).unwrap();
        phantom(&folder.join("series"), &[]).unwrap();
        Machine { folder }
    }

    fn command(&self, arguments: &[&str], fault: &str) -> Finished {
        let mut command = Command::new(sagitta().unwrap());
        command.args(arguments).arg("--config").arg(self.folder.join("sagitta.toml"));
        run(command.env(FAULT, fault), LIMIT).unwrap()
    }

    fn build(&self, fault: &str) -> Finished {
        self.command(&["engine", "build", "--force"], fault)
    }

    /// The report of the series, segmented into a folder of this name.
    fn segment(&self, name: &str, fault: &str, more: &[&str]) -> Value {
        let (series, out) = (self.folder.join("series"), self.folder.join(name));
        let mut arguments = vec!["segment", series.to_str().unwrap(), "--json"];
        arguments.extend(["--out", out.to_str().unwrap()]);
        arguments.extend(more);
        let done = self.command(&arguments, fault).success().unwrap();
        serde_json::from_str(&done.stdout).unwrap()
    }

    fn plan(&self, name: &str) -> PathBuf {
        self.folder.join("data/plans").join(name)
    }
}

fn mask(report: &Value) -> Vec<u8> {
    std::fs::read(report["outputs"]["seg_spine"].as_str().unwrap()).unwrap()
}

/// Checks that `simd` made the result, and why TensorRT did not.
fn fell_back(report: &Value, state: &str, words: &str) {
    let engine = &report["engine"];
    assert_eq!(engine["name"], "simd int8", "{engine}");
    assert_eq!(engine["fallback"]["from"], "tensorrt", "{engine}");
    assert_eq!(engine["fallback"]["state"], state, "{engine}");
    assert!(engine["fallback"]["text"].as_str().unwrap().contains(words), "{engine}");
    assert!(engine["reason"].as_str().unwrap().contains(state), "{engine}");
}

#[test]
fn plans_are_built_proven_listed_and_used() {
    let machine = Machine::new();
    fell_back(&machine.segment("before", "", &[]), "no_plan", "no plan of net semantic");
    let built = machine.build("").success().unwrap();
    assert!(built.stderr.contains("built and proven: Dice "), "{}", built.stderr);
    assert!(!built.stderr.contains('\r'), "progress in a pipe: {:?}", built.stderr);
    let listed = machine.command(&["engine", "list", "--json"], "").success().unwrap();
    let plans: Value = serde_json::from_str(&listed.stdout).unwrap();
    for (plan, net) in plans.as_array().unwrap().iter().zip(["semantic", "instance"]) {
        assert_eq!((&plan["net"], &plan["state"]), (&net.into(), &"ready".into()), "{plan}");
        assert_eq!(plan["built_for"]["tensorrt"], "10.3.0");
        assert!(plan["proof"]["dice"].as_f64().unwrap() >= 0.995, "{plan}");
    }
    let report = machine.segment("after", "", &[]);
    assert_eq!(report["engine"]["name"], "tensorrt fp16");
    assert_eq!(report["engine"]["reason"], "tensorrt: TensorRT 10.3.0 on Mock, driver 12.6");
    assert!(report["engine"]["fallback"].is_null(), "{report}");
    let simd = machine.segment("simd", "", &["--engine", "simd"]);
    assert_eq!(simd["engine"]["name"], "simd int8");
    assert!(simd["engine"]["fallback"].is_null(), "{simd}");
    assert_ne!(simd["outputs"], report["outputs"]);
    assert_eq!(
        simd["vertebrae"].as_array().unwrap().len(),
        report["vertebrae"].as_array().unwrap().len()
    );
}

#[test]
fn what_is_missing_wrong_or_fails_in_a_job_is_told_and_the_job_is_done() {
    let machine = Machine::new();
    machine.build("").success().unwrap();
    let simd = mask(&machine.segment("simd", "", &["--engine", "simd"]));
    for (fault, state, words) in [
        (
            "version",
            "wrong_version",
            "TensorRT 11.4.0 is installed, this shim was built for 10.3.0",
        ),
        ("no-driver", "no_driver", "libcuda.so.1"),
        ("old-driver", "old_driver", "the driver serves CUDA 11.4, this TensorRT needs 12.0"),
        ("no-device", "no_device", "CUDA error 100"),
        // At a later start than that of the golden case.
        ("wrong", "not_proven", "of the fixed values, known is"),
        ("device=Thor", "foreign_plan", "device Mock, here it is Thor"),
        // The known answer at the opening takes two runs, the series those after them.
        ("lost=6", "device_lost", "CUDA error 719"),
        ("memory=5", "out_of_memory", "CUDA error 2"),
    ] {
        let report = machine.segment(state, fault, &[]);
        fell_back(&report, state, words);
        assert_eq!(mask(&report), simd, "after {fault} the masks are not those of simd");
    }
    std::fs::write(machine.plan("instance.plan"), "cut off").unwrap();
    fell_back(&machine.segment("corrupt", "", &[]), "corrupt_plan", "instance.plan is corrupt");
    std::fs::remove_file(machine.folder.join("libsagitta_tensorrt10.so")).unwrap();
    fell_back(&machine.segment("shim", "", &[]), "no_shim", "no shim for TensorRT in");
}

#[test]
fn a_plan_that_disagrees_is_never_kept_and_the_old_one_stays() {
    let machine = Machine::new();
    machine.build("").success().unwrap();
    let kept = std::fs::read(machine.plan("semantic.toml")).unwrap();
    let failed = machine.build("wrong");
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert!(failed.stderr.contains("not_proven: the golden case failed"), "{}", failed.stderr);
    assert_eq!(std::fs::read(machine.plan("semantic.toml")).unwrap(), kept);
    assert_eq!(machine.segment("after", "", &[])["engine"]["name"], "tensorrt fp16");
}

/// A site whose service wants TensorRT, and one series sent to it.
struct Service {
    site: Site,
    appliance: Appliance,
}

impl Service {
    fn start(site: Site, fault: &str) -> Service {
        mock_shim(site.folder.path()).unwrap();
        let shims = site.folder.path().display();
        let config = format!("{}[jobs]\nengine = 'tensorrt'\nshims = '{shims}'\n", site.config());
        let appliance = Appliance::start_with(&site.folder, &config, &[(FAULT, fault)]).unwrap();
        wait_for_port(site.dicom, LIMIT).unwrap();
        Service { site, appliance }
    }

    /// Sends the patient of `seed`; the last status, the result and the report.
    fn job(&self, seed: &str) -> [Value; 3] {
        let series = self.site.folder.join(format!("series-{seed}"));
        phantom(&series, &["--seed", seed]).unwrap();
        send(self.site.dicom, &series, Nagle::Off).unwrap().success().unwrap();
        let job = self.site.job(&series_uid(&series).unwrap()).unwrap();
        let status = self.site.settled(&job).unwrap();
        let heard = self.site.heard(&job).unwrap();
        let (_, result) = heard.into_iter().rfind(|(kind, _)| kind == "result").unwrap();
        let path = self.site.results(&job).join("report.json");
        [status, result, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()]
    }

    fn wait_for_log(&self, words: &str) {
        let found = || self.appliance.log().contains(words).then_some(());
        wait_until(words, LIMIT, found).unwrap();
    }
}

#[test]
fn the_service_builds_its_plans_and_goes_on_when_the_device_is_lost() {
    // Lost in the middle of the first job on the device: it and the golden case before it take a dozen runs each.
    let service = Service::start(Site::new().unwrap(), "lost=20");
    service.wait_for_log("plans for TensorRT are built and proven");
    assert!(service.appliance.log().contains("building a plan for TensorRT: Building Engine"));
    let [status, result, report] = service.job("3");
    assert_eq!(status["state"], "done", "{status}");
    let passed = serde_json::json!({ "engine": "tensorrt", "because": "device_lost" });
    assert_eq!((&status["fallback"], &result["fallback"]), (&passed, &passed));
    assert_eq!((&result["engine"], &result["precision"]), (&"simd".into(), &"int8".into()));
    fell_back(&report, "device_lost", "CUDA error 719");
    service.wait_for_log("gave up in a job (device_lost)");
    // It stays lost, and the next job does not try it again.
    let [_, result, report] = service.job("4");
    assert_eq!(result["engine"], "simd");
    fell_back(&report, "device_lost", "CUDA error 719");
}

#[test]
fn the_service_runs_on_tensorrt_from_its_first_job_once_the_plans_are_there() {
    let site = Site::new().unwrap();
    let first = Service::start(site, "");
    first.wait_for_log("plans for TensorRT are built and proven");
    let Service { site, appliance } = first;
    appliance.kill();
    // Out of memory in one series alone: the next is tried on the device again.
    // The opening, and the self-test with the golden case, take fourteen runs before it.
    let second = Service::start(site, "memory=20");
    second.wait_for_log("engine: tensorrt: TensorRT 10.3.0 on Mock");
    let [status, result, _] = second.job("3");
    assert_eq!(status["fallback"]["because"], "out_of_memory", "{status}");
    assert_eq!(result["engine"], "simd");
    let [status, result, report] = second.job("4");
    assert!(status["fallback"].is_null() && result["fallback"].is_null(), "{status}");
    assert_eq!((&result["engine"], &result["precision"]), (&"tensorrt".into(), &"f16".into()));
    assert_eq!(report["engine"]["name"], "tensorrt fp16");
}

fn doctor(machine: &Machine, fault: &str) -> Vec<Value> {
    let done = machine.command(&["doctor", "--json"], fault);
    serde_json::from_str::<Value>(&done.stdout).unwrap().as_array().unwrap().clone()
}

fn part<'a>(findings: &'a [Value], name: &str) -> &'a Value {
    findings.iter().find(|finding| finding["part"] == name).unwrap()
}

#[test]
fn the_doctor_says_what_is_used_and_what_would_be_needed() {
    let machine = Machine::new();
    let findings = doctor(&machine, "");
    assert_eq!(
        part(&findings, "tensorrt")["text"],
        "TensorRT 10.3.0 on Mock, driver 12.6, 65536 MiB"
    );
    assert_eq!(part(&findings, "plan")["state"], "no_plan");
    assert_ne!(part(&findings, "cuda")["health"], "wrong", "nobody asked for it");
    assert!(
        part(&findings, "engine")["text"]
            .as_str()
            .unwrap()
            .starts_with("jobs run on simd int8; simd (")
    );
    let findings = doctor(&machine, "no-driver");
    let tensorrt = part(&findings, "tensorrt");
    assert_eq!((&tensorrt["state"], &tensorrt["health"]), (&"no_driver".into(), &"wrong".into()));
    assert!(tensorrt["advice"].as_str().unwrap().contains("install the driver"), "{tensorrt}");

    // Without configuration on a machine without anything: plain words, and nothing is wrong.
    let mut command = Command::new(sagitta().unwrap());
    command.arg("doctor").env_remove("SAGITTA_CONFIG");
    let done = run(&mut command, LIMIT).unwrap();
    if !Path::new("/etc/sagitta/sagitta.toml").exists() {
        done.success().map(|done| println!("{}", done.stdout)).unwrap();
    }
}
