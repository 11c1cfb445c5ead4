//! Certificates of a hospital that does not exist, made by OpenSSL's command line.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::shell::run;

/// For a key and two signatures on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A certificate of no days is good until the second it was made in is over, and times in certificates are whole seconds.
const LAST_SECOND: Duration = Duration::from_millis(1100);

/// An authority and the folder of what it signs: `NAME.pem`, `NAME.key`.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    name: String,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    /// Makes an authority in `folder`, which must exist.
    pub fn new(folder: &Path, name: &str) -> Result<Authority> {
        let authority = Authority { folder: folder.to_owned(), name: name.to_owned() };
        let Pair { certificate, key } = authority.pair(name);
        let mut command = request(name, &key, &certificate);
        command.args(["-x509", "-days", "100"]);
        run(&mut command, LIMIT)?.success()?;
        Ok(authority)
    }

    /// What believes it wants this file.
    pub fn certificate(&self) -> PathBuf {
        self.pair(&self.name).certificate
    }

    /// Signs a certificate for `name`, who is on this machine, that has expired when this returns.
    pub fn sign_expired(&self, name: &str) -> Result<Pair> {
        let pair = self.sign(name, 0)?;
        std::thread::sleep(LAST_SECOND);
        Ok(pair)
    }

    /// Signs a certificate for `name`, who is on this machine.
    pub fn sign(&self, name: &str, days: u32) -> Result<Pair> {
        let pair = self.pair(name);
        let (wanted, extensions) = (self.file(name, "csr"), self.file(name, "ext"));
        run(&mut request(name, &pair.key, &wanted), LIMIT)?.success()?;
        let text = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n";
        std::fs::write(&extensions, text).context("write the extensions")?;
        let authority = self.pair(&self.name);
        let mut sign = Command::new("openssl");
        sign.args(["x509", "-req", "-days", &days.to_string(), "-CAcreateserial"]);
        sign.arg("-in")
            .arg(&wanted)
            .arg("-extfile")
            .arg(&extensions)
            .arg("-out")
            .arg(&pair.certificate);
        sign.arg("-CA").arg(&authority.certificate).arg("-CAkey").arg(&authority.key);
        run(&mut sign, LIMIT)?.success()?;
        Ok(pair)
    }

    fn pair(&self, name: &str) -> Pair {
        Pair { certificate: self.file(name, "pem"), key: self.file(name, "key") }
    }

    fn file(&self, name: &str, extension: &str) -> PathBuf {
        self.folder.join(format!("{name}.{extension}"))
    }
}

impl Pair {
    /// SHA-256 of the certificate as OpenSSL prints it, without colons, in small letters.
    pub fn fingerprint(&self) -> Result<String> {
        let mut command = Command::new("openssl");
        command.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(&self.certificate);
        let printed = run(&mut command, LIMIT)?.success()?.stdout;
        let (_, digits) = printed.trim().split_once('=').context("openssl prints NAME=DIGITS")?;
        Ok(digits.replace(':', "").to_lowercase())
    }
}

/// A new key, and the request for (with `-x509`: the) certificate of its holder.
fn request(name: &str, key: &Path, out: &Path) -> Command {
    let mut command = Command::new("openssl");
    command.args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    command
        .args(["-subj", &format!("/O=Nowhere/CN={name}")])
        .arg("-keyout")
        .arg(key)
        .arg("-out")
        .arg(out);
    command
}
