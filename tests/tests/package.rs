//! The package on a clean Debian: installed, at work as its unit says, upgraded and taken back with everything that was not
//! delivered, refused without harm where it is not for this machine or does not take the configuration.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sagitta::identity::JobId;
use serde_json::Value;
use tests::debian::{self, Debian};
use tests::series::Nagle;
use tests::site::{objects, series_uid};
use tests::{Guard, Site, TempDir, phantom, root, run, send, wait_until};

/// For a start, and for `cargo tree`.
const LIMIT: Duration = Duration::from_secs(60);
const VERSION: &str = env!("CARGO_PKG_VERSION");
const CONFIG: &str = "/etc/sagitta/sagitta.toml";
/// The slices of a phantom.
const SLICES: usize = 17;

/// A site whose appliance is the package on a Debian.
struct Installed {
    debian: Debian,
    site: Site,
    starts: u32,
}

impl Installed {
    /// Installs the package and configures it for the peers here.
    fn new(package: &Path) -> Installed {
        let debian = Debian::unpack().unwrap();
        debian.install(package).unwrap().success().unwrap();
        let site = Site::new().unwrap();
        let data = site.folder.join("data");
        let config = site.config().replace(data.to_str().unwrap(), "/var/lib/sagitta");
        std::fs::write(debian.path(CONFIG), config).unwrap();
        // Where the site looks for the appliance's files.
        symlink(debian.path("/var/lib/sagitta"), data).unwrap();
        Installed { debian, site, starts: 0 }
    }

    fn start(&mut self) -> (Guard, impl Fn() -> String + use<>) {
        self.starts += 1;
        let log = self.site.folder.join(format!("log.{}", self.starts));
        let service = self.debian.start(&log).unwrap();
        let read = move || std::fs::read_to_string(&log).unwrap();
        wait_until("ready", LIMIT, || read().contains("ready").then_some(()))
            .unwrap_or_else(|error| panic!("{error}: {}", read()));
        (service, read)
    }

    /// Sends a new patient; the job.
    fn send(&self, seed: &str) -> JobId {
        let series = self.site.folder.join(format!("series-{seed}"));
        phantom(&series, &["--seed", seed]).unwrap();
        send(self.site.dicom, &series, Nagle::Off).unwrap().success().unwrap();
        self.site.job(&series_uid(&series).unwrap()).unwrap()
    }

    /// Every result of a job: name and bytes.
    fn results(&self, job: &JobId) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(self.site.results(job)).unwrap().map(Result::unwrap);
        let files = entries.filter(|entry| entry.path().is_file());
        files
            .map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                (name, std::fs::read(entry.path()).unwrap())
            })
            .collect()
    }
}

/// Ends the service as systemd does.
fn stop(mut service: Guard) {
    service.signal("TERM").unwrap();
    assert_eq!(service.wait(LIMIT).unwrap(), Some(0));
}

/// The package of the next version, whose configuration as shipped is another.
fn next_version(package: &Path, out: &TempDir) -> PathBuf {
    let next = out.join("next.deb");
    debian::repack(package, &next, |files| {
        edit(&files.join("DEBIAN/control"), &format!("Version: {VERSION}"), "Version: 99.0.0");
        edit(&files.join("etc/sagitta/sagitta.toml"), "# Spool,", "# Another comment. Spool,");
    })
    .unwrap();
    next
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn what_was_received_and_not_delivered_survives_an_upgrade_and_its_rollback() {
    let (package, out) = (debian::package().unwrap(), TempDir::new().unwrap());
    let next = next_version(package, &out);
    let mut installed = Installed::new(package);
    assert_eq!(installed.debian.state().unwrap(), format!("installed {VERSION}"));
    let version = installed.debian.run(&["sagitta", "--version"]).unwrap().stdout;
    assert_eq!(version, format!("sagitta {VERSION}\n"));

    let (service, log) = installed.start();
    let delivered = installed.send("1");
    assert_eq!(installed.site.settled(&delivered).unwrap()["state"], "done", "{}", log());
    installed.site.console.stop();
    let waiting = installed.send("2");
    installed.site.state(&waiting, &["sending"]).unwrap();
    let before = installed.results(&delivered);
    assert!(before.contains_key("report.json"), "{:?}", before.keys());
    stop(service);

    installed.debian.install(&next).unwrap().success().unwrap();
    assert_eq!(installed.debian.state().unwrap(), "installed 99.0.0");
    let (service, log) = installed.start();
    installed.site.console.restart().unwrap();
    assert_eq!(installed.site.settled(&waiting).unwrap()["state"], "done", "{}", log());
    assert_eq!(installed.site.console.files().unwrap().len(), 2 * objects(SLICES));
    stop(service);

    installed.debian.install(package).unwrap().success().unwrap();
    assert_eq!(installed.debian.state().unwrap(), format!("installed {VERSION}"));
    let (service, log) = installed.start();
    wait_until("both jobs found", LIMIT, || {
        (log().matches("its result is there already").count() == 2).then_some(())
    })
    .unwrap();
    assert!(installed.results(&delivered) == before, "results changed");
    let new = installed.send("3");
    assert_eq!(installed.site.settled(&new).unwrap()["state"], "done", "{}", log());
    stop(service);

    // What a purge leaves is the site's.
    installed.debian.run(&["dpkg", "--purge", "sagitta"]).unwrap().success().unwrap();
    assert!(!installed.debian.path(CONFIG).exists());
    assert!(!installed.debian.path("/usr/bin/sagitta").exists());
    assert!(installed.results(&delivered) == before, "a purge took results");
}

#[test]
fn a_package_that_cannot_be_taken_leaves_the_one_that_is_there() {
    let (package, out) = (debian::package().unwrap(), TempDir::new().unwrap());
    let next = next_version(package, &out);
    let debian = Debian::unpack().unwrap();
    debian.install(package).unwrap().success().unwrap();
    let here = format!("installed {VERSION}");

    let foreign = out.join("foreign.deb");
    debian::repack(package, &foreign, |files| {
        edit(&files.join("DEBIAN/control"), "Architecture: amd64", "Architecture: riscv64");
    })
    .unwrap();
    let refused = debian.install(&foreign).unwrap();
    assert!(!refused.status.success() && refused.stderr.contains("riscv64"), "{refused:?}");
    assert_eq!(debian.state().unwrap(), here);

    let bytes = std::fs::read(package).unwrap();
    let half = out.join("half.deb");
    std::fs::write(&half, &bytes[..bytes.len() / 2]).unwrap();
    assert!(!debian.install(&half).unwrap().status.success());
    assert_eq!(debian.state().unwrap(), here);
    debian.run(&["sagitta", "--version"]).unwrap().success().unwrap();

    // A typo of the site: said by name, and after it is mended dpkg goes on where it stood.
    edit(&debian.path(CONFIG), "[retention]", "[retention]\nkeep_ours = 24");
    let refused = debian.install(&next).unwrap();
    assert!(!refused.status.success());
    for words in ["keep_ours", CONFIG, "dpkg --configure sagitta"] {
        assert!(refused.stderr.contains(words), "no {words} in {}", refused.stderr);
    }
    assert_eq!(debian.state().unwrap(), "half-configured 99.0.0");
    edit(&debian.path(CONFIG), "keep_ours = 24", "");
    debian.run(&["dpkg", "--configure", "sagitta"]).unwrap().success().unwrap();
    assert_eq!(debian.state().unwrap(), "installed 99.0.0");
}

/// Who may read and write: root owns the configuration, the service reads it, nobody else sees it.
#[test]
fn files_and_folders_are_the_users_they_are_for() {
    let debian = Debian::unpack().unwrap();
    debian.install(debian::package().unwrap()).unwrap().success().unwrap();
    let owner = |path: &str| {
        let asked = debian.run(&["stat", "--format", "%U %G %a", path]).unwrap();
        asked.success().unwrap().stdout.trim().to_owned()
    };
    assert_eq!(owner(CONFIG), "root sagitta 640");
    assert_eq!(owner("/etc/sagitta"), "root sagitta 750");
    assert_eq!(owner("/var/lib/sagitta"), "sagitta sagitta 750");
    assert_eq!(owner("/usr/bin/sagitta"), "root root 755");
    // It starts with the computer.
    let wanted = debian.path("/etc/systemd/system/multi-user.target.wants/sagitta.service");
    assert!(wanted.is_symlink(), "the unit is not enabled");
    assert!(std::fs::metadata(debian.path("/usr/bin/sagitta")).unwrap().size() < 40 << 20);
    everybodys_work_is_named(&debian);
    no_newer_c_library_is_asked_for(&debian.path("/usr/bin/sagitta"));
}

/// The package says `libc6 (>= 2.35)`, that of JetPack 6; a builder with a newer one must not slip in what that lacks.
fn no_newer_c_library_is_asked_for(program: &Path) {
    let mut objdump = Command::new("objdump");
    let symbols = run(objdump.arg("-T").arg(program), LIMIT).unwrap().success().unwrap().stdout;
    let versions = symbols.split("GLIBC_2.").skip(1);
    let minors = versions.filter_map(|text| text.split(|c: char| !c.is_ascii_digit()).next());
    let newest = minors.map(|minor| minor.parse::<u32>().unwrap()).max();
    assert!(newest.is_some_and(|minor| minor <= 35), "it needs glibc 2.{newest:?}");
}

/// The bill of materials and the licences name every crate that Cargo puts into the program.
fn everybodys_work_is_named(debian: &Debian) {
    let bill = debian.read("/usr/share/doc/sagitta/sagitta.spdx.json").unwrap();
    let bill: Value = serde_json::from_str(&bill).unwrap();
    assert_eq!(bill["spdxVersion"], "SPDX-2.3");
    let packages = bill["packages"].as_array().unwrap();
    let named = |name: &str, version: &str| {
        packages.iter().any(|crates| crates["name"] == name && crates["versionInfo"] == version)
    };
    let licences = debian.read("/usr/share/doc/sagitta/third-party-licences.txt").unwrap();
    let mut tree = Command::new("cargo");
    tree.args(["tree", "--locked", "--package", "sagitta", "--edges", "normal"]);
    tree.args(["--prefix", "none", "--format", "{p}", "--no-dedupe"]).current_dir(root());
    let tree = run(&mut tree, LIMIT).unwrap().success().unwrap().stdout;
    let mut crates: Vec<&str> = tree.lines().filter(|line| !line.is_empty()).collect();
    crates.sort_unstable();
    crates.dedup();
    assert!(crates.len() > 100, "{crates:?}");
    for line in crates {
        let mut words = line.split(' ');
        let (name, version) = (words.next().unwrap(), words.next().unwrap());
        let version = version.trim_start_matches('v');
        assert!(named(name, version), "{line} is not in the bill of materials");
        // Our own crates have the licence of the package; those of others follow their name.
        let own = line.contains(&format!("({}", root().canonicalize().unwrap().display()));
        assert!(own || licences.contains(&format!("\n  {name} {version}")), "no licence of {line}");
    }
}
