//! Removes a testbed by its prefix: processes, namespaces, run directories, pins, files.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::failure::{During as _, Result, wait_until};
use super::netns::{NETNS_DIR, Namespace};
use super::prefix;

/// Time a killed process gets to be gone.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// Folders in which a testbed leaves entries that begin with its prefix.
fn folders() -> [PathBuf; 3] {
    [
        std::env::temp_dir(),
        PathBuf::from("/run"),
        PathBuf::from("/sys/fs/bpf"),
    ]
}

/// Removes the testbeds whose maker is dead.
pub(super) fn sweep_dead() -> Result<()> {
    let names = entries(Path::new(NETNS_DIR))
        .into_iter()
        .chain(folders().into_iter().flat_map(|folder| entries(&folder)));
    let dead: BTreeSet<String> = names
        .filter(|name| prefix::maker(name).is_some_and(|pid| !prefix::is_alive(pid)))
        .map(|name| prefix::of(&name).to_owned())
        .collect();
    dead.iter().try_for_each(|prefix| remove(prefix))
}

/// Removes everything of one testbed, and goes on after a failure; the first one is returned.
pub(super) fn remove(prefix: &str) -> Result<()> {
    let namespaces = of_prefix(Path::new(NETNS_DIR), prefix);
    let mut outcome = Ok(());
    for name in namespaces {
        outcome = outcome.and(remove_namespace(&Namespace::existing(name)));
    }
    for folder in folders() {
        for name in of_prefix(&folder, prefix) {
            outcome = outcome.and(remove_tree(&folder.join(name)));
        }
    }
    outcome
}

fn remove_namespace(namespace: &Namespace) -> Result<()> {
    for pid in namespace.pids() {
        // Gone already is as good as killed.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let outcome = wait_until(
        &format!("the processes in {} are gone", namespace.name()),
        KILL_WAIT,
        || namespace.pids().into_iter().all(is_zombie),
    );
    outcome.and(namespace.delete())
}

/// Whether only the parent's wait is missing.
fn is_zombie(pid: i32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    }
}

fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        outcome => outcome.during(|| format!("remove {}", path.display())),
    }
}

fn of_prefix(folder: &Path, prefix: &str) -> Vec<String> {
    let mut names = entries(folder);
    names.retain(|name| prefix::of(name) == prefix);
    names
}

/// Names in a folder; none when it does not exist.
fn entries(folder: &Path) -> Vec<String> {
    let Ok(listing) = fs::read_dir(folder) else {
        return Vec::new();
    };
    listing
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
