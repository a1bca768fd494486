//! Taking everything away, whether or not an agent or the interfaces still exist.

use std::path::Path;

use crate::error::RootError;
use crate::root::{PinRoot, entries, remove};
use crate::sys;

/// What [`detach`] took away, by file name. Names that are none of ours are among them: the
/// folder is ours alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DetachReport {
    /// Links; their programs ran until now, unless the interface was gone.
    pub links: Vec<String>,
    /// Maps.
    pub maps: Vec<String>,
}

/// Removes every pinned link, then every pinned map, then the folder. Loads nothing; doing it
/// twice is no failure. The gates (veths) are not touched.
///
/// # Errors
///
/// [`RootError`] where the folder can't be read or a pin can't be removed; the rest stays for
/// the next try.
pub fn detach(root: &PinRoot) -> Result<DetachReport, RootError> {
    let links = root.links();
    let maps = root.maps();
    let mut report = DetachReport::default();
    for name in entries(&links)? {
        remove_link(&links.join(&name))?;
        report.links.push(name);
    }
    for name in entries(&maps)? {
        remove(&maps.join(&name), false)?;
        report.maps.push(name);
    }
    for folder in [&links, &maps, &root.path().to_owned()] {
        remove(folder, true)?;
    }
    Ok(report)
}

/// Detaches a pinned link at once and removes its pin; answers whether it was there.
pub(crate) fn remove_link(path: &Path) -> Result<bool, RootError> {
    // What can't be detached by hand (interface gone, no link at all) ends with its last
    // reference, the pin.
    let _ = sys::link_detach(path);
    remove(path, false)
}
