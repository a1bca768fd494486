//! Puts a compiled table into the kernel's maps and the workers, without a gap.
//!
//! The order is what keeps packets right (ARCHITECTURE.md, "publishing"): what stops being diverted is told to
//! the kernel first; what is newly diverted is told to the workers first, then the kernel is
//! flipped by one write per port. Packets tagged before the flip are steered by the table
//! before: it stays until an RCU grace period has passed and the rings are consumed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use xsteer_abi::maps::{Address, NODE_LOCAL, PortRecord, Target};
use xsteer_dataplane::table::spec::{ClassifierSpec, Generation, PortSpec, TableSpec};
use xsteer_dataplane::table::{SteeringTable, TableError};
use xsteer_dataplane::worker::{Command, Event};
use xsteer_xdp::{Kernel, KernelError, LinkName, Prefix, address};

use crate::agent::workers::{Workers, WorkersError};
use crate::compile::Interner;

/// How long workers may take to answer.
const WORKER_DEADLINE: Duration = Duration::from_secs(2);

/// Why a table was not published. The last good one stays.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The table can't be built.
    #[error("table not built")]
    Table(#[from] TableError),
    /// The kernel refused a map entry or an attachment.
    #[error("kernel maps not written")]
    Kernel(#[from] KernelError),
    /// A worker did not answer.
    #[error("workers not told")]
    Workers(#[from] WorkersError),
}

/// The one writer of tables and maps.
pub struct Publisher {
    kernel: Kernel,
    /// Ids of classifiers and rule sets.
    pub interner: Interner,
    current: Arc<SteeringTable>,
    spec: TableSpec,
    records: BTreeMap<u32, PortRecord>,
    /// Classifiers that are complete in the kernel's maps.
    classifiers: BTreeSet<u32>,
    /// The last number given to a table, published or not: a late answer must not pass for another's.
    last_generation: u64,
    /// A publish broke off: the next one does all of it again, even for an equal table.
    is_unfinished: bool,
}

/// What the kernel's programs need beside the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelFacts {
    /// Never steered: service ranges, local addresses, link-local, multicast.
    pub exempt: Vec<IpNet>,
    /// Addresses of the cluster's nodes, this one included.
    pub nodes: Vec<IpAddr>,
    /// This node's addresses that steered packets are sent to.
    pub local: Vec<IpAddr>,
}

impl Publisher {
    /// Takes over what a dead agent left in the maps: its records stay in force until the first
    /// publish replaces them.
    ///
    /// # Errors
    /// Where the maps can't be read.
    pub fn adopt(mut kernel: Kernel) -> Result<Self, PublishError> {
        let mut records: BTreeMap<u32, PortRecord> = kernel.ports().list()?.into_iter().collect();
        // A link without a record does nothing; the first publish removes it as a port that went.
        for attached in kernel.attached()? {
            if let LinkName::PortEntry(ifindex) = attached.name {
                records.entry(ifindex).or_default();
            }
        }
        let classifiers: BTreeSet<u32> = kernel.selectors().classifiers().collect();
        let last_classifier = classifiers.last().copied().unwrap_or(0);
        let last_rule_set = kernel
            .rule_sets()
            .list()?
            .into_iter()
            .map(|(id, _)| id)
            .max()
            .unwrap_or(0);
        let current = Arc::new(SteeringTable::build(TableSpec::default(), None)?);
        Ok(Self {
            kernel,
            interner: Interner::starting_above(last_classifier, last_rule_set),
            current,
            spec: TableSpec::default(),
            records,
            classifiers,
            last_generation: 0,
            is_unfinished: false,
        })
    }

    /// The programs and maps.
    pub fn kernel_mut(&mut self) -> &mut Kernel {
        &mut self.kernel
    }

    /// The programs and maps, to read.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// The table that workers steer by.
    #[must_use]
    pub fn table(&self) -> Arc<SteeringTable> {
        Arc::clone(&self.current)
    }

    /// The largest port id in force.
    #[must_use]
    pub fn last_port(&self) -> u32 {
        self.records
            .values()
            .map(|record| record.port)
            .max()
            .unwrap_or(0)
    }

    /// Whether what a dead agent left is still in force: nothing was published yet.
    #[must_use]
    pub fn is_adopting(&self) -> bool {
        self.spec.generation == Generation::default() && !self.records.is_empty()
    }

    /// What that table was built from.
    #[must_use]
    pub fn spec(&self) -> &TableSpec {
        &self.spec
    }

    /// Publishes `spec` as the next generation; `Ok(false)` where nothing changed.
    ///
    /// # Errors
    /// What was not reached stays as it was; the next publish, of an equal table too, does it all
    /// again. A port that the kernel refuses does not keep the others from being published.
    pub fn publish(
        &mut self,
        mut spec: TableSpec,
        facts: &KernelFacts,
        workers: &Workers,
    ) -> Result<bool, PublishError> {
        self.write_facts(facts)?;
        spec.generation = self.spec.generation;
        if spec == self.spec && !self.is_unfinished {
            return Ok(false);
        }
        self.is_unfinished = true;
        self.last_generation += 1;
        spec.generation = Generation(self.last_generation);
        let table = Arc::new(SteeringTable::build(spec.clone(), Some(&self.current))?);
        self.add_selectors(&spec.classifiers)?;
        self.stop_diverting(&spec.ports)?;
        let generation = table.generation();
        workers.tell_all(|| Command::SwapTable(Arc::clone(&table)))?;
        workers.await_all(WORKER_DEADLINE, |event| match event {
            Event::Swapped {
                worker,
                generation: g,
            } if *g == generation => Some(*worker),
            _ => None,
        })?;
        self.current = table;
        let flipped = self.flip(&spec.ports);
        self.spec = spec;
        xsteer_xdp::grace()?;
        workers.tell_all(|| Command::Retire)?;
        workers.await_all(WORKER_DEADLINE, |event| match event {
            Event::Retired { worker } => Some(*worker),
            _ => None,
        })?;
        self.remove_stale_selectors()?;
        flipped?;
        self.is_unfinished = false;
        Ok(true)
    }

    fn write_facts(&mut self, facts: &KernelFacts) -> Result<(), PublishError> {
        self.kernel
            .exempt()
            .replace_all(facts.exempt.iter().filter_map(prefix))?;
        let nodes: Vec<(Address, u32)> = facts
            .nodes
            .iter()
            .chain(&facts.local)
            .map(|a| {
                (
                    address(*a),
                    if facts.local.contains(a) {
                        NODE_LOCAL
                    } else {
                        0
                    },
                )
            })
            .collect();
        self.kernel.nodes().replace_all(nodes)?;
        Ok(())
    }

    /// New classifiers, complete before any port names them.
    fn add_selectors(&mut self, classifiers: &[ClassifierSpec]) -> Result<(), PublishError> {
        for classifier in classifiers {
            if self.classifiers.contains(&classifier.id.0) {
                continue;
            }
            for prefix in &classifier.prefixes {
                let (id, set) = self.interner.rule_set(prefix);
                self.kernel.rule_sets().set(id, set)?;
                if let Some(prefix) = self::prefix(&prefix.prefix) {
                    self.kernel
                        .selectors()
                        .insert(classifier.id.0, prefix, id)?;
                }
            }
            self.classifiers.insert(classifier.id.0);
        }
        Ok(())
    }

    /// Ports that go, or that lose their classifier, stop diverting before workers forget them.
    fn stop_diverting(&mut self, ports: &[PortSpec]) -> Result<(), PublishError> {
        let staying: BTreeMap<u32, &PortSpec> = ports.iter().map(|p| (p.ifindex, p)).collect();
        let mut stopped = false;
        for (ifindex, record) in self.records.clone() {
            match staying.get(&ifindex) {
                None => {
                    self.kernel.detach_port(ifindex)?;
                    self.records.remove(&ifindex);
                    stopped = true;
                }
                Some(port) if port.classifier.is_none() && record.classifier != 0 => {
                    let record = PortRecord {
                        classifier: 0,
                        ..record
                    };
                    self.kernel.ports().set(ifindex, record)?;
                    self.records.insert(ifindex, record);
                    stopped = true;
                }
                Some(_) => {}
            }
        }
        if stopped {
            xsteer_xdp::grace()?;
        }
        Ok(())
    }

    /// Flips every port that can be, then the targets; answers the first failure.
    fn flip(&mut self, ports: &[PortSpec]) -> Result<(), PublishError> {
        let mut targets = Vec::new();
        let mut failure = Ok(());
        for port in ports {
            failure = failure.and(self.flip_port(port));
            let target = Target {
                port: port.id.0,
                worker: u32::from(port.worker),
            };
            targets.extend(port.addresses.iter().map(|a| (address(*a), target)));
        }
        self.kernel.targets().replace_all(targets)?;
        failure
    }

    /// One write: from here on the port's packets name the new classifier.
    fn flip_port(&mut self, port: &PortSpec) -> Result<(), PublishError> {
        let record = record_of(port);
        if self.records.get(&port.ifindex) != Some(&record) {
            self.kernel.ports().set(port.ifindex, record)?;
            self.records.insert(port.ifindex, record);
        }
        // Idempotent; after the record, so that a new port is never without its policy.
        self.kernel.attach_port(port.ifindex)?;
        Ok(())
    }

    fn remove_stale_selectors(&mut self) -> Result<(), PublishError> {
        // A port that could not be flipped still names its old classifier.
        let named = self.records.values().map(|record| record.classifier);
        let specs = self.spec.classifiers.iter();
        let live: BTreeSet<u32> = specs.map(|c| c.id.0).chain(named).collect();
        // As the map has them: those of a publish that broke off are in no list of ours.
        let held: Vec<u32> = self.kernel.selectors().classifiers().collect();
        for id in held.into_iter().filter(|id| !live.contains(id)) {
            self.kernel.selectors().remove_classifier(id)?;
        }
        self.classifiers.retain(|id| live.contains(id));
        let used: BTreeSet<u32> = self
            .kernel
            .selectors()
            .list()
            .map(|selector| selector.rule_set)
            .collect();
        for (id, _) in self.kernel.rule_sets().list()? {
            if !used.contains(&id) {
                self.kernel.rule_sets().remove(id)?;
            }
        }
        self.interner.keep_rule_sets(|id| used.contains(&id));
        Ok(())
    }
}

fn prefix(net: &IpNet) -> Option<Prefix> {
    Prefix::new(net.network(), net.prefix_len())
}

fn record_of(port: &PortSpec) -> PortRecord {
    PortRecord {
        port: port.id.0,
        classifier: port.classifier.map_or(0, |id| id.0),
        worker: u32::from(port.worker),
        gate: port.gate,
    }
}

#[cfg(test)]
mod tests;
