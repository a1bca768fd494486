//! Ids of service paths and addresses of service functions, worked out in process where no
//! controller does it, and kept in a file so that a restart changes nothing.
//!
//! An id or address is never given to another chain: the record of a deleted chain stays, because
//! its flows may still be on the path.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use xsteer_dataplane::table::spec::ServicePathId;

use crate::api::{CHAIN, ServiceFunctionChain};
use crate::inventory::Chain;
use crate::issue::{Issue, IssueReason, ObjectRef, Severity};

/// Name of the file in the state folder.
pub const STATE_FILE: &str = "service-path-ids.yaml";

/// Why the state file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum AssignError {
    /// The file can't be read or written.
    #[error("state file {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("state file {path} is not understood")]
    Format {
        /// The file.
        path: PathBuf,
        /// The parser's answer.
        #[source]
        source: serde_yaml::Error,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    chains: BTreeMap<String, Record>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    id: u32,
    #[serde(default)]
    addresses: BTreeMap<String, IpAddr>,
}

/// Gives ids to chains and addresses to their functions.
#[derive(Debug, Default)]
pub struct Assigner {
    file: Option<PathBuf>,
    functions: Option<IpNet>,
    state: State,
}

impl Assigner {
    /// Forgets everything at its end. `functions` is the range of function addresses.
    #[must_use]
    pub fn in_memory(functions: Option<IpNet>) -> Self {
        Self {
            functions,
            ..Self::default()
        }
    }

    /// Remembers in `folder`, which is made when it is missing.
    ///
    /// # Errors
    /// When the file is there and can't be read or is not understood: new ids could then collide
    /// with those that nodes still program.
    pub fn load(folder: &Path, functions: Option<IpNet>) -> Result<Self, AssignError> {
        let path = folder.join(STATE_FILE);
        let state = match std::fs::read_to_string(&path) {
            Ok(text) => serde_yaml::from_str(&text).map_err(|source| AssignError::Format {
                path: path.clone(),
                source,
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::default(),
            Err(source) => return Err(AssignError::File { path, source }),
        };
        Ok(Self {
            file: Some(path),
            functions,
            state,
        })
    }

    /// Gives each chain its id and its functions their addresses: those it had, or the lowest
    /// free ones, new chains in the order of their names. Writes the file if anything is new.
    ///
    /// # Errors
    /// When the file can't be written; what is new is then not given out.
    pub fn assign(
        &mut self,
        mut chains: Vec<ServiceFunctionChain>,
    ) -> Result<(Vec<Chain>, Vec<Issue>), AssignError> {
        chains.sort_by_key(ResourceExt::name_any);
        let mut next = self.state.clone();
        let mut issues = Vec::new();
        for chain in &chains {
            if !next.record(chain, self.functions) {
                issues.push(exhausted(&chain.name_any()));
            }
        }
        if next != self.state {
            self.save(&next)?;
            self.state = next;
        }
        let chains = chains
            .into_iter()
            .map(|chain| self.state.chain(chain))
            .collect();
        Ok((chains, issues))
    }

    /// Writes beside the file and renames: a crash leaves the old or the new one.
    fn save(&self, state: &State) -> Result<(), AssignError> {
        let Some(path) = &self.file else {
            return Ok(());
        };
        let failed = |source| AssignError::File {
            path: path.clone(),
            source,
        };
        let text = serde_yaml::to_string(state).map_err(|source| AssignError::Format {
            path: path.clone(),
            source,
        })?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let new = path.with_extension("yaml.new");
        std::fs::write(&new, text).map_err(failed)?;
        std::fs::rename(&new, path).map_err(failed)
    }
}

impl State {
    /// False when no id is left.
    fn record(&mut self, chain: &ServiceFunctionChain, functions: Option<IpNet>) -> bool {
        let name = chain.name_any();
        if !self.chains.contains_key(&name) {
            let taken: BTreeSet<u32> = self.chains.values().map(|record| record.id).collect();
            let Some(id) = (1..=ServicePathId::MAX).find(|id| !taken.contains(id)) else {
                return false;
            };
            self.chains.insert(
                name.clone(),
                Record {
                    id,
                    addresses: BTreeMap::new(),
                },
            );
        }
        for function in &chain.spec.service_functions {
            self.record_address(&name, &function.name, functions);
        }
        true
    }

    fn record_address(&mut self, chain: &str, function: &str, functions: Option<IpNet>) {
        let known = |record: &Record| record.addresses.contains_key(function);
        if self.chains.get(chain).is_none_or(known) {
            return;
        }
        let records = self.chains.values();
        let taken: BTreeSet<&IpAddr> = records
            .flat_map(|record| record.addresses.values())
            .collect();
        let free = functions.and_then(|net| net.hosts().find(|host| !taken.contains(host)));
        if let (Some(free), Some(record)) = (free, self.chains.get_mut(chain)) {
            record.addresses.insert(function.to_owned(), free);
        }
    }

    fn chain(&self, object: ServiceFunctionChain) -> Chain {
        let record = self.chains.get(&object.name_any());
        let address = |function: &crate::api::ServiceFunction| {
            record
                .and_then(|record| record.addresses.get(&function.name))
                .copied()
        };
        Chain {
            path: record.and_then(|record| ServicePathId::new(record.id)),
            addresses: object.spec.service_functions.iter().map(address).collect(),
            object,
        }
    }
}

fn exhausted(chain: &str) -> Issue {
    Issue {
        object: ObjectRef::cluster(CHAIN, chain),
        field: "status.servicePathId".to_owned(),
        reason: IssueReason::Exhausted,
        message: "no path id is left".to_owned(),
        mend: format!("remove chains that are gone from {STATE_FILE}"),
        severity: Severity::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ServiceFunction, ServiceFunctionChainSpec};

    fn chains(names: &[&str]) -> Vec<ServiceFunctionChain> {
        let function = |name: &str| ServiceFunction {
            name: name.to_owned(),
            namespace: "n".to_owned(),
            pod_selector: crate::api::FunctionSelector::default(),
        };
        let spec = ServiceFunctionChainSpec {
            service_functions: vec![function("a"), function("b")],
            ..ServiceFunctionChainSpec::default()
        };
        names
            .iter()
            .map(|name| ServiceFunctionChain::new(name, spec.clone()))
            .collect()
    }

    fn ids(assigner: &mut Assigner, names: &[&str]) -> Vec<(String, u32)> {
        let (chains, issues) = assigner.assign(chains(names)).unwrap();
        assert_eq!(issues, []);
        chains
            .iter()
            .map(|chain| (chain.name(), chain.path.unwrap().get()))
            .collect()
    }

    #[test]
    fn an_id_survives_a_restart_and_is_not_given_to_another_chain() {
        let folder = crate::source::directory::tests::Folder::new("assign");
        let mut first = Assigner::load(folder.path(), None).unwrap();
        assert_eq!(
            ids(&mut first, &["b", "a"]),
            [("a".into(), 1), ("b".into(), 2)]
        );
        assert_eq!(ids(&mut first, &["b"]), [("b".into(), 2)]);
        let mut second = Assigner::load(folder.path(), None).unwrap();
        assert_eq!(
            ids(&mut second, &["0", "b"]),
            [("0".into(), 3), ("b".into(), 2)]
        );
        assert_eq!(ids(&mut second, &["a"]), [("a".into(), 1)]);
    }

    #[test]
    fn a_state_file_that_is_not_understood_is_not_overwritten() {
        let folder = crate::source::directory::tests::Folder::new("state");
        std::fs::write(folder.path().join(STATE_FILE), "chains: 3").unwrap();
        let error = Assigner::load(folder.path(), None).unwrap_err();
        assert!(matches!(error, AssignError::Format { .. }), "{error}");
    }

    #[test]
    fn functions_get_addresses_of_the_range_while_it_lasts() {
        let mut assigner = Assigner::in_memory(Some("10.4.0.0/30".parse().unwrap()));
        let (chains, _) = assigner.assign(chains(&["a", "b"])).unwrap();
        assert_eq!(chains[0].addresses[0], Some([10, 4, 0, 1].into()));
        assert_eq!(chains[0].addresses[1], Some([10, 4, 0, 2].into()));
        assert_eq!(chains[1].addresses, [None, None]);
        assert!(chains[1].path.is_some());
    }
}
