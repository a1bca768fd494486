//! The folder that holds the pins: `<root>/maps/` and `<root>/links/`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use crate::error::RootError;

/// A folder on a BPF file system, such as `/sys/fs/bpf/xsteer`. Two agents never share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinRoot {
    path: PathBuf,
}

impl PinRoot {
    /// Names the folder; nothing is made yet.
    ///
    /// # Errors
    ///
    /// [`RootError::Unfit`] where the name is relative or has no parent.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, RootError> {
        let path = path.into();
        if !path.is_absolute() || path.parent().is_none() {
            return Err(RootError::Unfit { path });
        }
        Ok(Self { path })
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Mounts bpffs on the parent folder unless one is there; answers whether it did.
    ///
    /// # Errors
    ///
    /// [`RootError::MountDenied`] without CAP_SYS_ADMIN, [`RootError::Mount`] otherwise.
    pub fn mount_if_missing(&self) -> Result<bool, RootError> {
        if self.is_bpffs()? {
            return Ok(false);
        }
        let parent = self.parent();
        let path = parent.to_owned();
        match mount(
            Some("bpf"),
            parent,
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        ) {
            Ok(()) => Ok(true),
            Err(Errno::EPERM | Errno::EACCES) => Err(RootError::MountDenied { path }),
            Err(errno) => Err(RootError::Mount {
                path,
                source: errno.into(),
            }),
        }
    }

    /// Where the maps are pinned, by name.
    pub(crate) fn maps(&self) -> PathBuf {
        self.path.join("maps")
    }

    /// Where the links are pinned, by [`crate::LinkName`].
    pub(crate) fn links(&self) -> PathBuf {
        self.path.join("links")
    }

    /// Makes the folders; they must lie on a BPF file system.
    pub(crate) fn make(&self) -> Result<(), RootError> {
        if !self.is_bpffs()? {
            return Err(RootError::NotBpffs {
                path: self.path.clone(),
            });
        }
        for folder in [self.maps(), self.links()] {
            fs::create_dir_all(&folder).map_err(|source| RootError::File {
                action: "making",
                path: folder,
                source,
            })?;
        }
        Ok(())
    }

    /// Whether the parent folder, and with it the pins, lies on a BPF file system.
    pub(crate) fn is_bpffs(&self) -> Result<bool, RootError> {
        let parent = self.parent();
        statfs(parent)
            .map(|found| found.filesystem_type() == BPF_FS_MAGIC)
            .map_err(|errno| RootError::File {
                action: "looking at the file system of",
                path: parent.to_owned(),
                source: errno.into(),
            })
    }

    fn parent(&self) -> &Path {
        self.path
            .parent()
            .expect("PinRoot::new refuses a name without parent")
    }
}

/// Names of the entries of `folder`, sorted; none where it is missing.
pub(crate) fn entries(folder: &Path) -> Result<Vec<String>, RootError> {
    let failed = |source| RootError::File {
        action: "listing",
        path: folder.to_owned(),
        source,
    };
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(e)),
    };
    let mut names = Vec::new();
    for entry in listing {
        names.push(
            entry
                .map_err(failed)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    names.sort();
    Ok(names)
}

/// Removes a file or empty folder; one that is gone already is no failure. Answers whether it was there.
pub(crate) fn remove(path: &Path, folder: bool) -> Result<bool, RootError> {
    let removed = if folder {
        fs::remove_dir(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(RootError::File {
            action: "removing",
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_absolute_and_below_something() {
        for unfit in ["", "xsteer", "./x", "/"] {
            assert!(
                matches!(PinRoot::new(unfit), Err(RootError::Unfit { .. })),
                "{unfit}"
            );
        }
        assert!(PinRoot::new("/sys/fs/bpf/xsteer").is_ok());
    }

    #[test]
    fn a_folder_of_another_file_system_is_refused() {
        let root = PinRoot::new("/proc/xsteer").unwrap();
        assert!(matches!(root.make(), Err(RootError::NotBpffs { .. })));
    }
}
