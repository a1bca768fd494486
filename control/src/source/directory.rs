//! A folder of Kubernetes YAML as the source: the files `*.yaml`, `*.yml` and `*.json` directly in
//! it, hidden ones left out. Any change of the folder reads all of it again.
//!
//! A file that can't be read, and an object that is refused, stay at their last good version: as
//! with an API server, a slip takes nothing away. Pods of Deployments are not invented.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use inotify::{EventMask, EventStream, Inotify, WatchMask};
use ipnet::IpNet;
use serde_json::Value;
use tokio::sync::watch;

use super::assign::{AssignError, Assigner};
use super::documents;
use super::objects::Objects;
use crate::api::object_ref;
use crate::inventory::Inventory;
use crate::issue::{Issue, IssueReason, ObjectRef, Severity};

#[cfg(test)]
pub(crate) mod tests;

/// The folder must be quiet for this long before it is read.
const QUIET: Duration = Duration::from_millis(50);
/// A folder that is never quiet is read this often.
const AT_LATEST: Duration = Duration::from_secs(1);

/// Where a directory source reads and remembers.
#[derive(Clone, Debug, Default)]
pub struct DirectoryConfig {
    /// The folder to read.
    pub folder: PathBuf,
    /// Where path ids are kept; nowhere when absent.
    pub state_folder: Option<PathBuf>,
    /// Range of the service function addresses.
    pub function_cidr: Option<IpNet>,
}

/// Why a directory source ends.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The folder can't be listed or watched.
    #[error("folder {folder}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The folder was deleted or moved away.
    #[error("folder {0} is gone")]
    Gone(PathBuf),
    /// Path ids can't be kept.
    #[error("path ids can't be kept")]
    Assign(#[from] AssignError),
}

/// A watched folder.
#[derive(Debug)]
pub struct Directory {
    folder: PathBuf,
    events: EventStream<[u8; 4096]>,
    assigner: Assigner,
    /// The objects of each file when it could last be read.
    files: BTreeMap<PathBuf, Vec<Value>>,
    /// Each object when it was last accepted.
    accepted: HashMap<ObjectRef, Value>,
    snapshots: watch::Sender<Arc<Inventory>>,
}

impl Directory {
    /// Watches the folder and reads it for the first time. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the folder or the state file can't be used.
    pub fn open(config: &DirectoryConfig) -> Result<Self, DirectoryError> {
        let assigner = match &config.state_folder {
            Some(folder) => Assigner::load(folder, config.function_cidr)?,
            None => Assigner::in_memory(config.function_cidr),
        };
        let events = events(&config.folder).map_err(|source| DirectoryError::Folder {
            folder: config.folder.clone(),
            source,
        })?;
        let mut directory = Self {
            folder: config.folder.clone(),
            events,
            assigner,
            files: BTreeMap::new(),
            accepted: HashMap::new(),
            snapshots: watch::Sender::new(Arc::default()),
        };
        directory.refresh()?;
        Ok(directory)
    }

    /// The snapshots; the first one is there at once.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Inventory>> {
        self.snapshots.subscribe()
    }

    /// Follows the folder until it is gone.
    ///
    /// # Errors
    /// When the folder is gone or can't be read, or path ids can't be kept. The last snapshot
    /// stays with the subscribers.
    pub async fn run(mut self) -> Result<(), DirectoryError> {
        loop {
            self.next_change().await?;
            self.refresh()?;
        }
    }

    /// Waits for a change, and then until the folder is quiet.
    async fn next_change(&mut self) -> Result<(), DirectoryError> {
        let mut event = self.events.next().await;
        let deadline = tokio::time::Instant::now() + AT_LATEST;
        loop {
            match event {
                Some(Ok(event)) => {
                    let gone = EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED;
                    if event.mask.intersects(gone) {
                        return Err(DirectoryError::Gone(self.folder.clone()));
                    }
                }
                Some(Err(source)) => {
                    return Err(DirectoryError::Folder {
                        folder: self.folder.clone(),
                        source,
                    });
                }
                None => return Err(DirectoryError::Gone(self.folder.clone())),
            }
            let quiet = deadline.min(tokio::time::Instant::now() + QUIET);
            match tokio::time::timeout_at(quiet, self.events.next()).await {
                Ok(next) => event = next,
                Err(_) => return Ok(()),
            }
        }
    }

    fn refresh(&mut self) -> Result<(), DirectoryError> {
        let issues = self.read_files().map_err(|source| DirectoryError::Folder {
            folder: self.folder.clone(),
            source,
        })?;
        let inventory = Arc::new(self.inventory(issues)?);
        self.snapshots.send_if_modified(|last| {
            let changed = **last != *inventory;
            *last = inventory;
            changed
        });
        Ok(())
    }

    fn read_files(&mut self) -> std::io::Result<Vec<Issue>> {
        let mut issues = Vec::new();
        let mut files = BTreeMap::new();
        for path in manifests(&self.folder)? {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let (values, found) = match std::fs::read_to_string(&path) {
                Ok(text) => documents::read(&name, &text),
                // Deleted since it was listed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => (Vec::new(), vec![unreadable(&name, &error)]),
            };
            let last = self.files.remove(&path).filter(|_| !found.is_empty());
            files.insert(path, last.unwrap_or(values));
            issues.extend(found);
        }
        self.files = files;
        Ok(issues)
    }

    fn inventory(&mut self, mut issues: Vec<Issue>) -> Result<Inventory, DirectoryError> {
        let mut objects = Objects::default();
        let mut accepted = HashMap::new();
        for value in self.files.values().flatten() {
            let object = object_ref(value);
            let Err(found) = objects.add(value) else {
                accepted.insert(object, value.clone());
                continue;
            };
            issues.extend(found);
            if let Some(last) = self.accepted.get(&object)
                && objects.add(last).is_ok()
            {
                accepted.insert(object, last.clone());
            }
        }
        self.accepted = accepted;
        let (chains, found) = self.assigner.assign(objects.chains)?;
        issues.extend(found);
        Ok(Inventory {
            namespaces: objects.namespaces,
            nodes: objects.nodes,
            pods: objects.pods,
            chains,
            selectors: objects.selectors,
            issues,
        })
    }
}

fn events(folder: &Path) -> std::io::Result<EventStream<[u8; 4096]>> {
    let inotify = Inotify::init()?;
    // Not MODIFY: a file that is being written is read when it is closed.
    let mask = WatchMask::CLOSE_WRITE
        | WatchMask::CREATE
        | WatchMask::DELETE
        | WatchMask::MOVE
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR;
    inotify.watches().add(folder, mask)?;
    inotify.into_event_stream([0; 4096])
}

fn manifests(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
        if matches!(extension, Some("yaml" | "yml" | "json")) && !hidden && !path.is_dir() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

pub(crate) fn unreadable(file: &str, error: &std::io::Error) -> Issue {
    Issue {
        object: ObjectRef::cluster("File", file),
        field: String::new(),
        reason: IssueReason::Unreadable,
        message: error.to_string(),
        mend: "make it a readable UTF-8 text".to_owned(),
        severity: Severity::Error,
    }
}
