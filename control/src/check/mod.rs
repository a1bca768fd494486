//! The library side of `xsteer check FILE…`: reads manifests as a cluster would be given them and
//! says everything that is wrong, object by object and across the whole set.

mod set;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::api::object_ref;
use crate::issue::{Issue, ObjectRef};
use crate::source::documents;
use crate::source::objects::Objects;

/// An issue and the file it was found in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file; empty where an issue belongs to none.
    pub file: PathBuf,
    /// The issue.
    pub issue: Issue,
}

/// What a check found. Displays as one line for each finding and one of summary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Errors and warnings, in the order of the files.
    pub findings: Vec<Finding>,
    /// How many chains were accepted.
    pub chains: usize,
    /// How many selectors were accepted.
    pub selectors: usize,
    /// How many other objects were passed over or used for their labels.
    pub others: usize,
}

impl Report {
    /// Whether something is refused.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    fn errors(&self) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.issue.is_error())
            .count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { file, issue } in &self.findings {
            let severity = if issue.is_error() { "error" } else { "warning" };
            if file.as_os_str().is_empty() {
                writeln!(f, "{severity}: {issue}")?;
            } else {
                writeln!(f, "{severity}: {}: {issue}", file.display())?;
            }
        }
        let errors = self.errors();
        let warnings = self.findings.len() - errors;
        writeln!(
            f,
            "{} chains, {} selectors, {} other objects: {errors} errors, {warnings} warnings",
            self.chains, self.selectors, self.others
        )
    }
}

/// Checks files as one set. A file that can't be read is a finding like any other.
#[must_use]
pub fn run(files: &[PathBuf]) -> Report {
    let mut set = Set::default();
    for path in files {
        let name = path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy()
            .into_owned();
        match std::fs::read_to_string(path) {
            Ok(text) => set.add_text(path, &name, &text),
            Err(error) => {
                set.find(
                    path,
                    vec![crate::source::directory::unreadable(&name, &error)],
                );
            }
        }
    }
    set.finish()
}

/// Checks one text as if it were a file.
#[must_use]
pub fn text(name: &str, text: &str) -> Report {
    let mut set = Set::default();
    set.add_text(Path::new(name), name, text);
    set.finish()
}

/// The objects of all files so far.
#[derive(Debug, Default)]
struct Set {
    report: Report,
    objects: Objects,
    /// Where each object was first seen.
    origins: HashMap<ObjectRef, PathBuf>,
    accepted: usize,
}

impl Set {
    fn add_text(&mut self, path: &Path, name: &str, text: &str) {
        let (values, issues) = documents::read(name, text);
        for value in &values {
            self.add(path, value);
        }
        self.find(path, issues);
    }

    fn add(&mut self, path: &Path, value: &Value) {
        let object = object_ref(value);
        // A chain or selector has no namespace, whatever its manifest says.
        let cluster = ObjectRef {
            namespace: String::new(),
            ..object.clone()
        };
        for object in [object, cluster] {
            self.origins
                .entry(object)
                .or_insert_with(|| path.to_owned());
        }
        match self.objects.add(value) {
            Ok(()) => self.accepted += 1,
            Err(issues) => self.find(path, issues),
        }
        self.objects.pods.extend(set::template_pod(value));
    }

    fn find(&mut self, path: &Path, issues: Vec<Issue>) {
        let finding = |issue| Finding {
            file: path.to_owned(),
            issue,
        };
        self.report.findings.extend(issues.into_iter().map(finding));
    }

    fn finish(mut self) -> Report {
        self.report.chains = self.objects.chains.len();
        self.report.selectors = self.objects.selectors.len();
        self.report.others = self.accepted - self.report.chains - self.report.selectors;
        for issue in set::issues(self.objects) {
            let file = self.origins.get(&issue.object).cloned().unwrap_or_default();
            self.report.findings.push(Finding { file, issue });
        }
        self.report
    }
}
