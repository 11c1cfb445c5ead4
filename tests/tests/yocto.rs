//! The appliance image as far as it can be checked without building it: the layer is clean to its linter, the kas files to their
//! schema, the list of crates is that of Cargo.lock, every part has the one version, and the gate keeps a good update only.
//!
//! `SAGITTA_WRITE_CRATES=1` writes the list of crates.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use tests::{Finished, Site, TempDir, peer, python, root, run, sagitta};

/// For the linter, and for the gate on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
const VERSION: &str = env!("CARGO_PKG_VERSION");
const CRATES: &str = "yocto/meta-sagitta/recipes-runtime/sagitta/sagitta-crates.inc";
const GATE: &str = "yocto/meta-sagitta/recipes-runtime/sagitta-appliance/files";

/// What the linter says that is not so here, and why.
const NOT_SO: [&str; 5] = [
    // It asks the network for our page.
    "oelint.vars.homepageping",
    // Licences of files of the layer itself are those that oe-core has.
    "oelint.var.licenseremotefile",
    // Variables of class overlayfs, and our own.
    "oelint.vars.mispell.unknown",
    // A recipe whose file nobody names has to be skipped when it is read.
    "oelint.task.noanonpython",
    // The source is this repository: class externalsrc.
    "oelint.var.mandatoryvar.SRC_URI",
];

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}")) {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn the_linter_finds_nothing_in_the_layer() {
    let layer = files(&root().join("yocto/meta-sagitta"));
    let kinds = ["bb", "conf", "inc"];
    let kind = |path: &Path| path.extension().and_then(|end| end.to_str()).map(str::to_owned);
    let recipes: Vec<_> = layer
        .into_iter()
        .filter(|path| kind(path).is_some_and(|kind| kinds.contains(&kind.as_str())))
        .collect();
    assert!(recipes.len() > 5, "{recipes:?}");
    let lint = |files: &[PathBuf]| -> Finished {
        let mut command = Command::new(python().unwrap());
        command.args(["-m", "oelint_adv", "--quiet", "--release", "wrynose", "--hide", "info"]);
        command.args(NOT_SO.iter().flat_map(|rule| ["--suppress", rule]));
        run(command.args(files), LIMIT).unwrap()
    };
    let judged = lint(&recipes);
    assert!(judged.status.success() && judged.stderr.is_empty(), "{judged:?}");
    // A test of the test.
    let folder = TempDir::new().unwrap();
    let bad = folder.join("bad_1.0.bb");
    fs::write(&bad, "IMAGE_INSTALL:append = \"sagitta\"\n").unwrap();
    assert!(lint(&[bad]).stderr.contains("inconspaces"));
}

#[test]
fn the_kas_files_fit_their_schema_and_name_the_three_machines() {
    let machines = peer("check_kas.py", &[&root().join("yocto/kas")]).unwrap().stdout;
    let machines: BTreeSet<&str> = machines.lines().collect();
    let known = ["jetson-agx-orin-devkit", "jetson-orin-nano-devkit-nvme", "qemuarm64"];
    assert_eq!(machines, BTreeSet::from(known));
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// Each crate where bitbake's fetcher finds it, and its checksum.
fn crates() -> String {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let lock: Lock = toml::from_str(&lock).unwrap();
    let (mut places, mut sums) = (Vec::new(), String::new());
    for Locked { name, version, checksum } in &lock.package {
        // Ours have none.
        let Some(checksum) = checksum else { continue };
        places.push(format!("crate://crates.io/{name}/{version} \\\n"));
        writeln!(sums, "SRC_URI[{name}-{version}.sha256sum] = \"{checksum}\"").unwrap();
    }
    // Under one another: a line for each would be an assignment for each, and keeps the linter busy for minutes.
    let places = places.join(&" ".repeat("SRC_URI += \"".len()));
    format!(
        "# Every crate of Cargo.lock: written by SAGITTA_WRITE_CRATES=1 cargo test -p tests --test yocto\n\
         SRC_URI += \"{places}           \"\n\n{sums}"
    )
}

#[test]
fn the_list_of_crates_is_that_of_the_lock_file() {
    let path = root().join(CRATES);
    if std::env::var_os("SAGITTA_WRITE_CRATES").is_some() {
        fs::write(&path, crates()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap();
    assert!(written.matches("crate://").count() > 100);
    assert!(written == crates(), "write the list again: SAGITTA_WRITE_CRATES=1");
}

/// One number for the whole house: recipes, distribution, firmware. The label of Open Recon is compared in the runtime's tests, the
/// package in `package.rs`.
#[test]
fn every_part_has_the_one_version() {
    let layer = root().join("yocto/meta-sagitta");
    let mut recipes = 0;
    for path in files(&layer) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if let Some((_, version)) = name.strip_suffix(".bb").and_then(|name| name.split_once('_')) {
            assert_eq!(version, VERSION, "{name}");
            recipes += 1;
        }
    }
    assert!(recipes >= 4, "{recipes} recipes");
    let says = |path: &str, line: String| {
        let text = fs::read_to_string(root().join(path)).unwrap();
        assert!(text.lines().any(|found| found == line), "{path} has no line {line}");
    };
    let distribution = "yocto/meta-sagitta/conf/distro/sagitta-os.conf";
    says(distribution, format!("DISTRO_VERSION = \"{VERSION}\""));
    says("firmware/board/Cargo.toml", format!("version = \"{VERSION}\""));
    says("firmware/board-stm32g4/Cargo.toml", format!("version = \"{VERSION}\""));
}

/// Both recipes that build this repository hold its licence by the sum of its text.
#[test]
fn the_recipes_hold_the_licence_that_is_there() {
    let mut md5 = Command::new("md5sum");
    let sum = run(md5.arg(root().join("LICENSE")), LIMIT).unwrap().success().unwrap().stdout;
    let line = format!("file://LICENSE;md5={}", sum.split(' ').next().unwrap());
    let recipes = files(&root().join("yocto/meta-sagitta"));
    let with = recipes.iter().filter(|path| fs::read_to_string(path).unwrap().contains(&line));
    assert_eq!(with.count(), 2, "{line}");
}

/// systemd takes the units of the appliance; the program of the gate is put in its place.
#[test]
fn systemd_takes_the_units_of_the_appliance() {
    let folder = TempDir::new().unwrap();
    let program = root().canonicalize().unwrap().join(GATE).join("sagitta-health-gate");
    for name in ["sagitta-health-gate.service", "var-lib-sagitta.mount"] {
        let text = fs::read_to_string(root().join(GATE).join(name)).unwrap();
        let text = text.replace("/usr/libexec/sagitta-health-gate", program.to_str().unwrap());
        // `verify` loads what a unit wants: the service is another test's.
        let text = text.replace("Wants=sagitta.service\n", "");
        fs::write(folder.join(name), text).unwrap();
        let mut verify = Command::new("systemd-analyze");
        let judged = run(verify.args(["verify", "--man=no"]).arg(folder.join(name)), LIMIT);
        let judged = judged.unwrap().success().unwrap();
        assert_eq!(judged.stderr, "", "{name}");
    }
}

#[test]
fn the_page_names_the_limits_of_the_socs_watchdog() {
    let set = fs::read_to_string(root().join(GATE).join("50-watchdog.conf")).unwrap();
    let seconds = |key: &str| set.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    let (hang, end) = (seconds("RuntimeWatchdogSec="), seconds("RebootWatchdogSec="));
    let page = fs::read_to_string(root().join("docs/monitoring.md")).unwrap();
    let row = page.lines().find(|line| line.starts_with("| 2 |")).unwrap();
    assert!(row.contains(&format!("| {hang} s; {end} s for an orderly restart |")), "{row}");
}

/// A computer with two slots: `mender-update` and `systemctl` write down what they are asked; the rest is real.
struct Computer {
    folder: TempDir,
}

impl Computer {
    /// `pending`: an update runs for the first time.
    fn new(pending: bool) -> Computer {
        let folder = TempDir::new().unwrap();
        let bin = folder.join("bin");
        fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(sagitta().unwrap(), bin.join("sagitta")).unwrap();
        let asked = folder.join("asked");
        let answer = if pending { 0 } else { 2 };
        for (name, code) in [("mender-update", answer), ("systemctl", 0)] {
            let script =
                format!("#!/bin/sh\necho \"{name} $*\" >> {}\nexit {code}\n", asked.display());
            let path = bin.join(name);
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .unwrap();
        }
        Computer { folder }
    }

    /// Lets the gate decide within these seconds; what it said, and what it asked for.
    fn gate(&self, config: &str, hold_s: u32, limit_s: u32) -> (Finished, String) {
        let path = self.folder.join("sagitta.toml");
        fs::write(&path, config).unwrap();
        let mut gate = Command::new(root().join(GATE).join("sagitta-health-gate"));
        let paths = std::env::var_os("PATH").unwrap();
        let first = std::iter::once(self.folder.join("bin"));
        gate.env("PATH", std::env::join_paths(first.chain(std::env::split_paths(&paths))).unwrap());
        gate.env("SAGITTA_CONFIG", path);
        gate.env("SAGITTA_GATE_HOLD_S", hold_s.to_string());
        gate.env("SAGITTA_GATE_LIMIT_S", limit_s.to_string());
        let done = run(&mut gate, LIMIT).unwrap().success().unwrap();
        (done, fs::read_to_string(self.folder.join("asked")).unwrap_or_default())
    }
}

#[test]
fn the_gate_keeps_an_update_whose_service_is_well() {
    let site = Site::new().unwrap();
    let config = with_users(&site);
    let _appliance = tests::Appliance::ready(&site.folder, &config).unwrap();
    let (_, asked) = Computer::new(true).gate(&config, 2, 60);
    assert_eq!(asked, "mender-update commit\n");
    // At every other start there is nothing to decide.
    let (said, asked) = Computer::new(false).gate(&config, 0, 60);
    assert_eq!(asked, "mender-update commit\n");
    assert!(said.stdout.contains("no update waits"), "{said:?}");
}

/// A page that wants a login, and the token that the gate shows in its place.
fn with_users(site: &Site) -> String {
    let path = |name: &str| site.folder.join(name);
    let mut users = sagitta::users::Users::default();
    users.set("vera", sagitta::users::Role::Viewer, "look only please").unwrap();
    users.write(&path("users.toml")).unwrap();
    fs::write(path("token"), "0123456789abcdef0123456789abcdef\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(path("token"), mode).unwrap();
    let (users, token) = (path("users.toml"), path("token"));
    let access = format!(
        "[dashboard]\nusers = '{}'\nmetrics_token = '{}'\n",
        users.display(),
        token.display()
    );
    site.config().replace("[dashboard]\n", &access)
}

#[test]
fn the_gate_takes_back_what_does_not_run_or_does_not_take_the_configuration() {
    let site = Site::new().unwrap();
    const BACK: &str = "mender-update rollback\nsystemctl reboot\n";
    let (said, asked) = Computer::new(true).gate(&site.config(), 1, 2);
    assert_eq!(asked, BACK);
    assert!(said.stdout.contains("the service does not answer"), "{said:?}");
    let (said, asked) = Computer::new(true).gate(&site.config_with("typo = 1"), 1, 2);
    assert_eq!(asked, BACK);
    assert!(said.stdout.contains("the configuration is not taken"), "{said:?}");
    // Not while nothing is to be taken back: the computer would start for ever.
    let (_, asked) = Computer::new(false).gate(&site.config(), 1, 2);
    assert_eq!(asked, "mender-update rollback\n");
}

/// The supervisor does not answer: the service says so after half a minute, and works otherwise.
#[test]
fn the_gate_takes_back_an_update_with_an_alarm() {
    let site = Site::new().unwrap();
    let config = format!("{}[mcu]\nport = '/dev/null'\n", site.config());
    let appliance = tests::Appliance::ready(&site.folder, &config).unwrap();
    let (said, asked) = Computer::new(true).gate(&config, 50, 55);
    assert_eq!(asked, "mender-update rollback\nsystemctl reboot\n", "{}", appliance.log());
    assert!(said.stdout.contains("alarm mcu_link"), "{said:?}");
}
