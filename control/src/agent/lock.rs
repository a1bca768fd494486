//! One agent for one run folder: a second one would fight for the same gates, pins and socket.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Name of the lock in the run folder.
const FILE: &str = "agent.lock";

/// Why the lock is not ours.
#[derive(Debug, thiserror::Error)]
pub(super) enum LockError {
    /// Another agent runs.
    #[error(
        "another agent runs with this folder ({path} is locked by process {owner}): stop it, or give each its own --run-dir and --bpf-root"
    )]
    Held {
        /// The lock.
        path: PathBuf,
        /// Process id of the other agent, as it wrote it.
        owner: String,
    },
    /// The file can't be made.
    #[error("lock {path} not taken: is the folder writable?")]
    File {
        /// The lock.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The lock while we hold it. The kernel lets go of it with the process, by whatever signal it ends.
#[derive(Debug)]
pub(super) struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the lock of `run_dir`, which is made if it is missing.
    ///
    /// # Errors
    /// Where another process holds it, or the file can't be made.
    pub(super) fn take(run_dir: &Path) -> Result<Self, LockError> {
        let path = run_dir.join(FILE);
        let failed = |source| LockError::File {
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(run_dir).map_err(failed)?;
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                sign(&mut file).map_err(failed)?;
                Ok(Self { _file: file })
            }
            Err(TryLockError::WouldBlock) => Err(LockError::Held {
                owner: owner(&mut file),
                path,
            }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

/// Writes our process id over that of whoever held it before.
fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn owner(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        // It has just taken the lock and not signed yet.
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_is_refused_by_the_name_of_the_first_until_that_ends() {
        let folder = std::env::temp_dir().join(format!("xsteer-lock-{}", std::process::id()));
        let first = RunLock::take(&folder).unwrap();
        let refused = RunLock::take(&folder).unwrap_err();
        let pid = std::process::id().to_string();
        assert!(matches!(&refused, LockError::Held { owner, .. } if *owner == pid));
        assert!(refused.to_string().contains(&format!("process {pid}")));
        drop(first);
        RunLock::take(&folder).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
