//! The files of `packaging` are true: the example configuration is one the program takes.

use sagitta::config::Config;
use std::path::Path;

#[test]
fn the_packaged_configuration_is_accepted() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/sagitta.toml");
    let config = Config::read(&path).expect("the packaged configuration");
    assert_eq!(config.data, Path::new("/var/lib/sagitta"));
    assert_eq!(config.dicom.ae_title, "SAGITTA");
}
