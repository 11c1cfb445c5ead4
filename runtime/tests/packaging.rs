//! The files of `packaging` are true: the example configurations are ones the program takes, and a bundle for Open Recon is what
//! an installation reads.
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
