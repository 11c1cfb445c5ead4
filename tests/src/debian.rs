//! A clean Debian to install the package into: a folder of its own with Debian's smallest system, entered by `chroot`. No
//! systemd is at work in it: the program is started by the line of its unit, as the unit's user.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::peers::Guard;
use crate::place::{TempDir, root, sagitta};
use crate::shell::{Finished, run};

/// For a package to be installed on a busy machine, and for it to be made with the licences of all crates read.
const LIMIT: Duration = Duration::from_secs(120);
const PACKAGE_LIMIT: Duration = Duration::from_secs(600);
/// Where the unit is in the package.
const UNIT: &str = "usr/lib/systemd/system/sagitta.service";

/// The folder, removed when dropped.
#[derive(Debug)]
pub struct Debian(TempDir);

impl Debian {
    /// Unpacks the archive that `SAGITTA_DEBIAN` names; `tests/lib/debian-root` makes it.
    pub fn unpack() -> Result<Debian> {
        let archive = std::env::var_os("SAGITTA_DEBIAN").map(PathBuf::from);
        let archive = archive.context(
            "SAGITTA_DEBIAN is not set: make an archive with tests/lib/debian-root, or use tests/run",
        )?;
        let debian = Debian(TempDir::new()?);
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(debian.0.path()).arg("-xf").arg(&archive);
        run(&mut tar, LIMIT)?.success().context("unpack a Debian; that takes root")?;
        Ok(debian)
    }

    /// A path of the Debian, seen from outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.0.join(inside.trim_start_matches('/'))
    }

    pub fn read(&self, inside: &str) -> Result<String> {
        let path = self.path(inside);
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    /// Runs a command of the Debian to its end, in its root folder.
    pub fn run(&self, command: &[&str]) -> Result<Finished> {
        run(self.enter(&[]).args(command).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), LIMIT)
    }

    /// Installs a package as an unattended upgrade does: a configuration that was changed stays.
    pub fn install(&self, package: &Path) -> Result<Finished> {
        std::fs::copy(package, self.path("package.deb")).context("copy the package")?;
        self.run(&["dpkg", "--force-confdef", "--force-confold", "--install", "/package.deb"])
    }

    /// What dpkg says of the package: `STATE VERSION`.
    pub fn state(&self) -> Result<String> {
        let format = "${db:Status-Status} ${Version}";
        let asked = self.run(&["dpkg-query", "--show", "--showformat", format, "sagitta"])?;
        Ok(asked.success()?.stdout)
    }

    /// Starts the service by the line of its unit and as the unit's user.
    pub fn start(&self, log: &Path) -> Result<Guard> {
        let unit = self.read(UNIT)?;
        let line = |key: &str| {
            let found = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            found.with_context(|| format!("the unit has no {key}"))
        };
        let user = format!("--userspec={}:{}", line("User")?, line("Group")?);
        Guard::start(self.enter(&[&user]).args(line("ExecStart")?.split(' ')), log)
    }

    /// `chroot` into it with these options; what is added runs there, as the same process. It sees processes; the mount that
    /// takes is its own and goes with it.
    fn enter(&self, options: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "sh",
            "-c",
            r#"mount --rbind /proc "$0/proc" && exec chroot "$@""#,
        ]);
        command.arg(self.0.path()).args(options).arg(self.0.path());
        command
    }
}

/// The package of the program that these tests run; the first who asks in a process makes it, which takes half a minute.
pub fn package() -> Result<&'static Path> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = MADE.get_or_init(|| make_package().map_err(|error| format!("{error:#}")));
    made.as_deref().map_err(|error| anyhow!("{error}"))
}

fn make_package() -> Result<PathBuf> {
    // target/release/sagitta -> target
    let program = sagitta()?;
    let target = program.ancestors().nth(2).context("a program lies in target/PROFILE")?;
    let mut script = Command::new(root().join("runtime/packaging/package"));
    script.arg(target.join("package")).env("CARGO_TARGET_DIR", target);
    let made = run(&mut script, PACKAGE_LIMIT)?.success()?.stdout;
    let path = PathBuf::from(made.trim());
    ensure!(path.is_file(), "{} was not made", path.display());
    Ok(path)
}

/// Writes a package into `made` that is another with `change` made to its files: a folder as `dpkg-deb --raw-extract` makes
/// it.
pub fn repack(package: &Path, made: &Path, change: impl FnOnce(&Path)) -> Result<()> {
    let folder = TempDir::new()?;
    let files = folder.join("files");
    let mut unpack = Command::new("dpkg-deb");
    run(unpack.arg("--raw-extract").arg(package).arg(&files), LIMIT)?.success()?;
    change(&files);
    let mut pack = Command::new("dpkg-deb");
    run(pack.args(["-Znone", "--root-owner-group", "--build"]).arg(&files).arg(made), LIMIT)?
        .success()
        .map(drop)
}
