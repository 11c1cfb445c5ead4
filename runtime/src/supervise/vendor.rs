//! The vendor's side of an update: the key that supervisors trust, and the file that they take.

use crate::identity::hexadecimal;
use crate::secret;
use anyhow::{Context, ensure};
use link::Slot;
use link::image::{Header, SLOT_BYTES, board_at};
use object::read::elf::{ElfFile32, ProgramHeader};
use ring::digest::{SHA512, digest};
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::path::Path;

/// What a new key in place of a lost one would do.
const LOSS: &str = "no supervisor that trusts the old key takes what a new one signs";

/// The key that signs images of supervisors.
pub struct VendorKey(Ed25519KeyPair);

impl std::fmt::Debug for VendorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VendorKey({})", self.public())
    }
}

impl VendorKey {
    /// The key in the file `path`, made where there is none.
    pub fn keep(path: &Path) -> anyhow::Result<VendorKey> {
        let (folder, name) = parts(path)?;
        Ok(VendorKey::from_seed(&secret::keep(folder, name, LOSS)?))
    }

    /// The key in the file `path`.
    pub fn read(path: &Path) -> anyhow::Result<VendorKey> {
        let (folder, name) = parts(path)?;
        let none = || format!("there is no {}: `sagitta mcu key` makes one", path.display());
        Ok(VendorKey::from_seed(&secret::read(folder, name, LOSS)?.with_context(none)?))
    }

    fn from_seed(seed: &[u8; secret::BYTES]) -> VendorKey {
        VendorKey(Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed"))
    }

    /// What the boot stage is built with: 64 hexadecimal digits.
    pub fn public(&self) -> String {
        hexadecimal(self.0.public_key().as_ref())
    }

    /// The update of `version`: the programs linked for slots A and B, ELF files of the board. Once it is confirmed, no version
    /// below `oldest` runs.
    pub fn sign(&self, elves: [&[u8]; 2], version: u32, oldest: u32) -> anyhow::Result<Vec<u8>> {
        ensure!(oldest <= version, "the oldest version that may run is newer than this one");
        let [a, b] = elves.map(Program::of_elf);
        let (a, b) = (a.context("the program for slot A")?, b.context("the program for slot B")?);
        ensure!(
            a.address.checked_add(SLOT_BYTES) == Some(b.address),
            "the programs begin at {:#x} and {:#x}: slot B is {SLOT_BYTES} bytes behind slot A",
            a.address,
            b.address
        );
        let unknown = || format!("no board has slot A at {:#x}", a.address);
        let board = board_at(a.address).with_context(unknown)?;
        let mut file = Vec::new();
        for (slot, program) in [(Slot::A, &a.bytes), (Slot::B, &b.bytes)] {
            let length = u32::try_from(program.len()).context("the program is too long")?;
            let program_digest = digest(&SHA512, program);
            let digest = program_digest.as_ref().try_into().expect("SHA-512 has 64 bytes");
            let header = Header { board, slot, version, oldest, length, digest };
            let signature = self.0.sign(&header.signed());
            let bytes = signature.as_ref().try_into().expect("Ed25519 signs with 64 bytes");
            file.extend_from_slice(&header.to_bytes(&bytes));
            file.extend_from_slice(program);
        }
        ensure!(link::image::images(&file).is_some(), "the programs do not fit their slots");
        Ok(file)
    }
}

fn parts(path: &Path) -> anyhow::Result<(&Path, &str)> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("{} names no file", path.display()))?;
    Ok((path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")), name))
}

/// What lies in flash.
struct Program {
    address: u32,
    bytes: Vec<u8>,
}

impl Program {
    /// The bytes that a loader would write, from the first to the last.
    fn of_elf(elf: &[u8]) -> anyhow::Result<Program> {
        let file =
            ElfFile32::<object::Endianness>::parse(elf).context("it is no 32-bit ELF file")?;
        let endian = file.endian();
        let loaded = file.elf_program_headers().iter().filter(|segment| {
            segment.p_type(endian) == object::elf::PT_LOAD && segment.p_filesz(endian) > 0
        });
        let mut parts: Vec<_> = loaded
            .map(|segment| Some((segment.p_paddr(endian), segment.data(endian, elf).ok()?)))
            .collect::<Option<_>>()
            .context("the ELF file is cut")?;
        parts.sort_by_key(|(address, _)| *address);
        let (address, _) = *parts.first().context("the ELF file has no program")?;
        let mut bytes = Vec::new();
        for (at, part) in parts {
            let at = (at - address) as usize;
            ensure!(
                at >= bytes.len() && at <= SLOT_BYTES as usize,
                "its parts overlap or lie apart"
            );
            bytes.resize(at, 0xff);
            bytes.extend_from_slice(part);
        }
        Ok(Program { address, bytes })
    }
}
