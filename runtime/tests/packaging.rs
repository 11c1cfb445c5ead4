//! The files of `packaging` are true: the example configurations are ones the program takes, the unit is one that systemd takes and
//! finds tight, and a bundle for Open Recon is what an installation reads.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use sagitta::config::Config;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

#[test]
fn the_packaged_configurations_are_accepted() {
    let config = Config::read(&packaging("sagitta.toml")).expect("the packaged configuration");
    assert_eq!(config.data, Path::new("/var/lib/sagitta"));
    assert_eq!(config.dicom.ae_title, "SAGITTA");
    assert_eq!(config.mrd.bind, None, "off unless asked for");
    let config = Config::read(&packaging("open-recon/sagitta.toml")).expect("that of Open Recon");
    assert_eq!(config.mrd.bind, Some("0.0.0.0:9002".parse().unwrap()));
}

/// What an Open Recon installation expects of a label: where a value stands and what it is.
const TEXTS: [&str; 19] = [
    "/general/name/en",
    "/general/version",
    "/general/vendor",
    "/general/information/en",
    "/general/id",
    "/general/regulatory_information/device_trade_name",
    "/general/regulatory_information/production_identifier",
    "/general/regulatory_information/manufacturer_address",
    "/general/regulatory_information/made_in",
    "/general/regulatory_information/manufacture_date",
    "/general/regulatory_information/material_number",
    "/general/regulatory_information/gtin",
    "/general/regulatory_information/udi",
    "/general/regulatory_information/safety_advices",
    "/general/regulatory_information/special_operating_instructions",
    "/general/regulatory_information/additional_relevant_information",
    "/reconstruction/transfer_protocol/protocol",
    "/reconstruction/transfer_protocol/version",
    "/reconstruction/content_qualification_type",
];
const NUMBERS: [&str; 5] = [
    "/reconstruction/port",
    "/reconstruction/min_count_required_gpus",
    "/reconstruction/min_required_gpu_memory",
    "/reconstruction/min_count_required_cpu_cores",
    "/reconstruction/min_required_memory",
];

/// Fails where a label is not as it should be.
fn check(label: &Value) {
    let at = |path: &str| label.pointer(path).unwrap_or_else(|| panic!("{path} is missing"));
    for path in TEXTS {
        assert!(at(path).is_string(), "{path}");
    }
    for path in NUMBERS {
        assert!(at(path).is_u64(), "{path}");
    }
    assert_eq!(at("/general/version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(at("/reconstruction/transfer_protocol/protocol"), "ISMRMRD");
    assert_eq!(at("/reconstruction/port"), 9002);
    assert_eq!([at("/reconstruction/emitter"), at("/reconstruction/injector")], ["image", "image"]);
    assert!(at("/reconstruction/can_use_gpu").is_boolean());
    assert_eq!(at("/reconstruction/content_qualification_type"), "RESEARCH");
    let parameters = at("/parameters").as_array().unwrap();
    assert_eq!(parameters.len(), 1);
    assert_eq!(parameters[0]["id"], "sendoriginal");
    assert_eq!(
        (&parameters[0]["type"], parameters[0]["default"].is_boolean()),
        (&"boolean".into(), true)
    );
}

/// With a program in docker's place, which keeps the label it is given and saves what it was to build from.
#[test]
fn the_bundle_is_an_image_with_a_label_and_a_manual() {
    let folder = std::env::temp_dir().join(format!("sagitta-bundle-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let docker = folder.join("docker");
    let script = "#!/bin/sh\n\
        case $1 in\n\
        build) ls \"$6\" > \"$0.context\"; printf %s \"${5#*=}\" | base64 -d > \"$0.label\"; echo \"$3 ${5%%=*}\" > \"$0.tag\" ;;\n\
        save) cp \"$0.tag\" \"$3\" ;;\n\
        esac\n";
    std::fs::write(&docker, script).unwrap();
    let mut permissions = std::fs::metadata(&docker).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    std::fs::set_permissions(&docker, permissions).unwrap();
    for name in ["program", "manual.pdf"] {
        std::fs::write(folder.join(name), name).unwrap();
    }
    let mut bundle = Command::new(packaging("open-recon/bundle"));
    bundle.arg(folder.join("program")).arg(folder.join("manual.pdf")).arg(folder.join("out"));
    let done = bundle.env("DOCKER", &docker).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let name = format!("OpenRecon_Sagitta_Sagitta_V{}", env!("CARGO_PKG_VERSION"));
    let zip = String::from_utf8(done.stdout).unwrap();
    assert!(zip.trim().ends_with(&format!("out/{name}.zip")), "{zip}");
    let mut list = Command::new("python3");
    let list = list.args(["-m", "zipfile", "-l", zip.trim()]).output().unwrap().stdout;
    let list = String::from_utf8(list).unwrap();
    assert!(
        list.contains(&format!("{name}.tar")) && list.contains(&format!("{name}.pdf")),
        "{list}"
    );
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let key = "com.siemens-healthineers.magneticresonance.openrecon.metadata:1.1.0";
    let tag = format!("openrecon_sagitta_sagitta:v{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(read("docker.tag"), format!("{tag} {key}\n"));
    assert_eq!(read("docker.context"), "Dockerfile\nsagitta\nsagitta.toml\n");
    check(&serde_json::from_str(&read("docker.label")).unwrap());
    std::fs::remove_dir_all(folder).unwrap();
}

/// The whole unit, held to its own tools. systemd's scale goes to 10; 2.0 is what the appliance promises (issue of the
/// appliance), and what is open beyond it is said in the unit.
const MOST_EXPOSED: &str = "20";

/// Runs a tool of systemd; what it printed.
fn systemd(program: &str, arguments: &[&Path], options: &[&str]) -> String {
    let mut command = Command::new(program);
    let done = command.args(options).args(arguments).env("SYSTEMD_COLORS", "0").output();
    let done =
        done.unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs systemd"));
    let text = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(done.status.success(), "{program} {options:?}: {text:?}");
    text.concat()
}

/// The unit with the program that was built here in place of the one that the package installs; its folder goes with it.
#[test]
fn systemd_takes_every_line_of_the_unit_and_finds_it_tight() {
    let folder = std::env::temp_dir().join(format!("sagitta-unit-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let unit = folder.join("sagitta.service");
    let text = std::fs::read_to_string(packaging("sagitta.service")).unwrap();
    assert!(text.contains("ExecStart=/usr/bin/sagitta run"));
    std::fs::write(&unit, text.replace("/usr/bin/sagitta", env!("CARGO_BIN_EXE_sagitta"))).unwrap();
    // It prints what it does not understand and ends with 0.
    assert_eq!(systemd("systemd-analyze", &[&unit], &["verify", "--man=no"]), "");
    let threshold = format!("--threshold={MOST_EXPOSED}");
    let judged = systemd("systemd-analyze", &[&unit], &["security", "--offline=true", &threshold]);
    assert!(judged.contains("Overall exposure level"), "{judged}");
    // A test of the test: the same unit with one line less of its sandbox is not as tight, and a wrong line is told.
    std::fs::write(&unit, "[Service]\nExecStart=/bin/true\nProtectSytem=strict\n").unwrap();
    let mut loose = Command::new("systemd-analyze");
    loose.args(["security", "--offline=true", &threshold]).arg(&unit);
    assert!(!loose.output().unwrap().status.success());
    let told = systemd("systemd-analyze", &[&unit], &["verify", "--man=no"]);
    assert!(told.contains("ProtectSytem"), "{told}");
    std::fs::remove_dir_all(folder).unwrap();
}

/// The user and groups that the unit names are made by the file beside it.
#[test]
fn the_user_of_the_unit_is_made_by_systemd() {
    let root = std::env::temp_dir().join(format!("sagitta-users-{}", std::process::id()));
    std::fs::create_dir_all(root.join("etc")).unwrap();
    let made = format!("--root={}", root.display());
    systemd("systemd-sysusers", &[&packaging("sagitta.sysusers")], &[&made]);
    let users = std::fs::read_to_string(root.join("etc/passwd")).unwrap();
    assert!(users.contains("sagitta:x:") && users.contains(":/var/lib/sagitta:"), "{users}");
    let groups = std::fs::read_to_string(root.join("etc/group")).unwrap();
    let unit = std::fs::read_to_string(packaging("sagitta.service")).unwrap();
    let line = unit.lines().find_map(|line| line.strip_prefix("SupplementaryGroups=")).unwrap();
    for group in line.split(' ').chain(["sagitta"]) {
        assert!(
            groups.lines().any(|line| line.starts_with(&format!("{group}:"))),
            "{group}: {groups}"
        );
    }
    std::fs::remove_dir_all(root).unwrap();
}
