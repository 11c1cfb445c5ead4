//! Answers become a configuration that the program takes, once.

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("sagitta-setup-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn answers(folder: &Folder) -> String {
    format!(
        "site = 'north'\ndevice = 'mr1'\nae_title = 'SPINE'\ndata = '{0}/data'\nsite_key = '{0}/saved'\n\
         [[scanner]]\nae_title = 'MR1'\naddress = '10.1.2.0/24'\n\
         [[receiver]]\nname = 'pacs'\naddress = 'pacs.example.org:104'\nae_title = 'PACS'\nkind = 'pacs'\n\
         [broker]\nhost = 'mqtt.example.org'\nport = 1884\nlogin = {{ name = 'sagitta', password = 'tell nobody' }}\n\
         [user]\nname = 'ann'\npassword = 'correct horse'\n",
        folder.0.display()
    )
}

#[test]
fn answers_become_a_configuration_and_the_files_it_names() {
    let folder = Folder::new("answers");
    let place = folder.0.join("sagitta.toml");
    fs::write(&place, EXAMPLE).unwrap();
    fs::write(folder.0.join("saved"), [7; secret::BYTES]).unwrap();
    let config = set_up(&Answers::parse(&answers(&folder)).unwrap(), &place).unwrap();
    assert_eq!((config.dicom.ae_title.as_str(), config.dicom.peers.len()), ("SPINE", 1));
    assert_eq!(config.destinations[0].profile.len(), 6);
    let text = fs::read_to_string(&place).unwrap();
    assert!(!text.contains("tell nobody") && !text.contains("correct horse"), "{text}");
    assert_eq!(fs::read_to_string(folder.0.join("mqtt")).unwrap(), "tell nobody");
    let users = Users::read(&folder.0.join("users.toml")).unwrap();
    assert!(users.find("ann").unwrap().has_password("correct horse"));
    assert_eq!(users.find("ann").unwrap().role, Role::Engineer);
    assert_eq!(fs::read(folder.0.join("data/site.key")).unwrap(), [7; secret::BYTES]);
    for name in ["sagitta.toml", "mqtt", "users.toml"] {
        let mode = fs::metadata(folder.0.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE, "{name}");
    }
    // What is there now is somebody's.
    let again = set_up(&Answers::parse(&answers(&folder)).unwrap(), &place);
    assert!(matches!(again, Err(SetupError::Configured(_))));
}

#[test]
fn wrong_answers_are_named_and_nothing_is_configured() {
    let folder = Folder::new("wrong");
    let place = folder.0.join("sagitta.toml");
    let said = |from: &str, to: &str| {
        let text = answers(&folder).replacen(from, to, 1);
        Answers::parse(&text).and_then(|a| set_up(&a, &place)).unwrap_err().to_string()
    };
    assert!(said("'north'", "'North'").contains("site or device name"));
    assert!(said("ae_title = 'SPINE'", "ae_titel = 'SPINE'").contains("ae_titel"));
    assert!(said("correct horse", "short").contains("a password has 10"));
    assert!(said("pacs.example.org:104", "pacs").contains("host:port"));
    assert!(said("'pacs'\n[broker]", "'printer'\n[broker]").contains("printer"));
    fs::write(folder.0.join("saved"), [7; 3]).unwrap();
    assert!(said("'SPINE'", "'SPINE'").contains("32 bytes"));
    assert!(is_wanted(&place));
}

#[test]
fn the_page_is_for_who_is_near() {
    let near = |text: &str| is_near(text.parse().unwrap());
    assert!(near("127.0.0.1:1") && near("169.254.1.2:1") && near("[fe80::1]:1") && near("[::1]:1"));
    assert!(!near("0.0.0.0:1") && !near("192.168.0.1:1") && !near("[::]:1"));
}
