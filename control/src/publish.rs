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
    classifiers: BTreeSet<u32>,
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

    /// What that table was built from.
    #[must_use]
    pub fn spec(&self) -> &TableSpec {
        &self.spec
    }

    /// Publishes `spec` as the next generation; `Ok(false)` where nothing changed.
    ///
    /// # Errors
    /// The last good table stays in force; map entries already added are harmless and are
    /// removed by the next publish.
    pub fn publish(
        &mut self,
        mut spec: TableSpec,
        facts: &KernelFacts,
        workers: &Workers,
    ) -> Result<bool, PublishError> {
        self.write_facts(facts)?;
        spec.generation = self.spec.generation;
        if spec == self.spec {
            return Ok(false);
        }
        spec.generation = Generation(self.spec.generation.0 + 1);
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
        self.flip(&spec.ports)?;
        self.spec = spec;
        xsteer_xdp::grace()?;
        workers.tell_all(|| Command::Retire)?;
        workers.await_all(WORKER_DEADLINE, |event| match event {
            Event::Retired { worker } => Some(*worker),
            _ => None,
        })?;
        self.remove_stale_selectors()?;
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
            if !self.classifiers.insert(classifier.id.0) {
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
        }
        Ok(())
    }

    /// Ports that go, or that lose their classifier, stop diverting before workers forget them.
    fn stop_diverting(&mut self, ports: &[PortSpec]) -> Result<(), PublishError> {
        let staying: BTreeMap<u32, &PortSpec> = ports.iter().map(|p| (p.ifindex, p)).collect();
        let mut stopped = false;
        for (ifindex, record) in std::mem::take(&mut self.records) {
            match staying.get(&ifindex) {
                None => {
                    self.kernel.detach_port(ifindex)?;
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
                Some(_) => {
                    self.records.insert(ifindex, record);
                }
            }
        }
        if stopped {
            xsteer_xdp::grace()?;
        }
        Ok(())
    }

    /// One write per port: from here on its packets name the new classifier.
    fn flip(&mut self, ports: &[PortSpec]) -> Result<(), PublishError> {
        let mut targets = Vec::new();
        for port in ports {
            let record = record_of(port);
            if self.records.get(&port.ifindex) != Some(&record) {
                self.kernel.ports().set(port.ifindex, record)?;
                self.records.insert(port.ifindex, record);
            }
            // Idempotent; after the record, so that a new port is never without its policy.
            self.kernel.attach_port(port.ifindex)?;
            let target = Target {
                port: port.id.0,
                worker: u32::from(port.worker),
            };
            targets.extend(port.addresses.iter().map(|a| (address(*a), target)));
        }
        self.kernel.targets().replace_all(targets)?;
        Ok(())
    }

    fn remove_stale_selectors(&mut self) -> Result<(), PublishError> {
        let live: BTreeSet<u32> = self.spec.classifiers.iter().map(|c| c.id.0).collect();
        for id in self.classifiers.difference(&live) {
            self.kernel.selectors().remove_classifier(*id)?;
        }
        self.classifiers.clone_from(&live);
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
