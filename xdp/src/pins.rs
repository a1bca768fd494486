//! The pinned links: list, make, adopt, remove.

use std::io;
use std::path::PathBuf;

use crate::detach::remove_link;
use crate::error::KernelError;
use crate::link::{Attached, LinkName};
use crate::programs::Programs;
use crate::root::entries;
use crate::sys;

/// The folder of pinned links.
pub(crate) struct LinkPins {
    folder: PathBuf,
}

impl LinkPins {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Our links, by name; files that are none of ours are left alone.
    pub(crate) fn list(&self) -> Result<Vec<Attached>, KernelError> {
        let mut found = Vec::new();
        for file in entries(&self.folder)? {
            if let Some(name) = LinkName::parse(&file) {
                found.extend(self.find(name)?);
            }
        }
        Ok(found)
    }

    /// Gives each link that a former agent left our program, and removes those whose interface is gone.
    pub(crate) fn adopt(&self, programs: &mut Programs) -> Result<(), KernelError> {
        for link in self.list()? {
            if link.ifindex == 0 {
                self.remove(link.name)?;
            } else {
                programs.replace(link.name, &self.path(link.name))?;
            }
        }
        Ok(())
    }

    /// Makes sure that the program of `name` is attached to `ifindex`; a link of that name
    /// elsewhere goes.
    pub(crate) fn ensure(
        &self,
        programs: &mut Programs,
        name: LinkName,
        ifindex: u32,
    ) -> Result<(), KernelError> {
        match self.find(name)? {
            Some(link) if link.ifindex == ifindex => return Ok(()),
            Some(_) => self.remove(name)?,
            None => false,
        };
        programs.attach(name, ifindex, &self.path(name))
    }

    /// Detaches and unpins; answers whether the link was there.
    pub(crate) fn remove(&self, name: LinkName) -> Result<bool, KernelError> {
        Ok(remove_link(&self.path(name))?)
    }

    fn find(&self, name: LinkName) -> Result<Option<Attached>, KernelError> {
        let path = self.path(name);
        match sys::link_info(&path) {
            Ok(info) => Ok(Some(Attached {
                name,
                ifindex: info.ifindex,
                link_id: info.id,
                program_id: info.program_id,
            })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(KernelError::Link {
                action: "reading",
                path,
                source: e.into(),
            }),
        }
    }

    fn path(&self, name: LinkName) -> PathBuf {
        self.folder.join(name.to_string())
    }
}
