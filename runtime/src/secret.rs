//! Secrets of this device: random bytes in the data folder, made at the first start, readable by the service alone.

use crate::durable;
use anyhow::{Context, Result};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

/// Bytes of every secret: a key for HMAC-SHA-256, or the seed of an Ed25519 key (RFC 8032 section 5.1.5).
pub const BYTES: usize = 32;

/// The secret `name` of the data folder, made where there is none. `loss` says what a new one in place of a lost one would do.
pub fn keep(data: &Path, name: &str, loss: &str) -> Result<[u8; BYTES]> {
    if let Some(secret) = read(data, name, loss)? {
        return Ok(secret);
    }
    let mut secret = [0; BYTES];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut secret)?;
    write(data, name, &secret)?;
    Ok(secret)
}

/// Takes over the secret that was saved in the file `saved`, for a device that has none yet.
pub fn adopt(data: &Path, name: &str, saved: &Path) -> Result<()> {
    anyhow::ensure!(!data.join(name).exists(), "{} has one already", data.display());
    let bytes = std::fs::read(saved).with_context(|| format!("cannot read {}", saved.display()))?;
    let secret: [u8; BYTES] = bytes
        .try_into()
        .ok()
        .with_context(|| format!("{} is not {BYTES} bytes long", saved.display()))?;
    write(data, name, &secret)
}

/// Writes a secret for whom the data folder belongs to.
fn write(data: &Path, name: &str, secret: &[u8; BYTES]) -> Result<()> {
    let cannot = || unusable(data);
    std::fs::create_dir_all(data).with_context(cannot)?;
    let owner = std::fs::metadata(data).with_context(cannot)?;
    let path = data.join(name);
    let partial = path.with_extension("part");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&partial).with_context(cannot)?;
    if file.metadata().with_context(cannot)?.uid() != owner.uid() {
        fchown(&file, Some(owner.uid()), Some(owner.gid())).with_context(cannot)?;
    }
    file.write_all(secret).and_then(|()| file.sync_all()).with_context(cannot)?;
    std::fs::rename(&partial, &path).with_context(cannot)?;
    durable::sync_folder(data).with_context(cannot)
}

/// The secret `name` of the data folder; `None` before the first start.
pub fn read(data: &Path, name: &str, loss: &str) -> Result<Option<[u8; BYTES]>> {
    let path = data.join(name);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| unusable(data)),
    };
    let wrong =
        || format!("{} is not {BYTES} bytes long: put back the saved one; {loss}", path.display());
    Ok(Some(bytes.try_into().ok().with_context(wrong)?))
}

fn unusable(data: &Path) -> String {
    let folder = data.display();
    format!("cannot use the data folder {folder}: name another, or let the service write there")
}
