//! A disk of a few megabytes that a test can fill. Mounting one needs root; without it the test says so and is not run.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts a tmpfs at `path`, which is made. `None`, with a word on standard error, where mounting is not allowed.
    pub fn mount(path: &Path, megabytes: u32) -> Result<Option<Self>> {
        std::fs::create_dir_all(path).with_context(|| format!("{} cannot be made", path.display()))?;
        let options = format!("size={megabytes}m,mode=0700");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(path)
            .stdin(Stdio::null());
        let output = mount.output().context("there is no mount command")?;
        if output.status.success() {
            return Ok(Some(Self { path: path.into() }));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        writeln!(
            std::io::stderr(),
            "a small disk cannot be mounted here, nothing was tested: {}",
            said.trim()
        )?;
        Ok(None)
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }

    /// Fills it to the last byte.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::create(self.filler())?;
        // Ever smaller, so that nothing is left between two sizes.
        for size in [1 << 20, 4096, 1] {
            let piece = vec![0x55; size];
            loop {
                match file.write(&piece) {
                    Ok(_) => {}
                    Err(full) if full.kind() == std::io::ErrorKind::StorageFull => break,
                    Err(other) => bail!("the small disk cannot be filled: {other}"),
                }
            }
        }
        Ok(())
    }

    pub fn make_room(&self) -> Result<()> {
        std::fs::remove_file(self.filler()).context("the filler is gone")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a program that a failed test left running may still hold it, and is killed with the test.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(&self.path)
            .stdin(Stdio::null())
            .status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_disk_takes_no_byte_until_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let Some(disk) = SmallDisk::mount(&folder.path().join("disk"), 1).unwrap() else {
            return;
        };

        disk.fill().unwrap();
        let when_full = std::fs::write(disk.path.join("more"), [0; 4096]);
        disk.make_room().unwrap();

        assert_eq!(when_full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        std::fs::write(disk.path.join("more"), [0; 4096]).unwrap();
    }
}
