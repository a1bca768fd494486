//! What the agent answers on its admin socket.

use std::collections::BTreeMap;
use std::time::Duration;

use xsteer_abi::maps::{POLICY_OPEN, Rule};
use xsteer_dataplane::drop::DropReason;
use xsteer_dataplane::table::spec::{Decision, PathSpec, PortSpec};
use xsteer_dataplane::worker::Report;

use super::Agent;
use crate::admin::view::{Counters, FlowRow, PathRow, SelectRow, protocol_name};
use crate::admin::{Answer, Request};
use crate::resolve::PodRef;

const DEADLINE: Duration = Duration::from_secs(2);

impl Agent {
    pub(super) fn answer(&self, request: Request) -> Answer {
        match request {
            Request::Paths => Answer::Paths(self.path_rows()),
            Request::Selectors => Answer::Selectors(self.select_rows()),
            Request::Flows(limit) => match self.workers.flows(limit, DEADLINE) {
                Ok(rows) => Answer::Flows(rows.iter().map(flow_row).collect()),
                Err(error) => Answer::Failed(error.to_string()),
            },
            Request::Counters => match self.workers.reports(DEADLINE) {
                Ok(reports) => self.counters(&reports),
                Err(error) => Answer::Failed(error.to_string()),
            },
            Request::Issues => {
                Answer::Issues(self.state.issues.iter().map(ToString::to_string).collect())
            }
            Request::Generation => Answer::Generation(self.publisher.spec().generation.0),
        }
    }

    fn path_rows(&self) -> Vec<PathRow> {
        let mut rows = Vec::new();
        for chain in &self.state.intent.chains {
            let indices = (1..=u8::try_from(chain.functions.len()).unwrap_or(u8::MAX)).rev();
            for (function, index) in chain.functions.iter().zip(indices) {
                let ready = function.endpoints.iter().filter(|e| e.ready);
                rows.push(PathRow {
                    path: chain.spi.get(),
                    index,
                    chain: chain.name.clone(),
                    function: function.name.clone(),
                    address: function.address.map(|a| a.to_string()),
                    pods: ready
                        .map(|e| format!("{}@{}", pod_name(&e.pod), e.node))
                        .collect(),
                });
            }
        }
        rows.sort_by_key(|row| (row.path, std::cmp::Reverse(row.index)));
        rows
    }

    fn select_rows(&self) -> Vec<SelectRow> {
        let spec = self.publisher.spec();
        let pods: BTreeMap<u32, String> = self
            .state
            .pods
            .iter()
            .map(|p| (p.port.id.0, pod_name(&p.pod)))
            .collect();
        let mut rows = Vec::new();
        for port in &spec.ports {
            let Some(id) = port.classifier else { continue };
            let Some(classifier) = spec.classifiers.iter().find(|c| c.id == id) else {
                continue;
            };
            let pod = pods.get(&port.id.0).cloned().unwrap_or_default();
            for prefix in &classifier.prefixes {
                let row = |(rule, decision): &(Rule, Decision)| {
                    select_row(
                        port,
                        &pod,
                        &prefix.prefix.to_string(),
                        *rule,
                        *decision,
                        &spec.paths,
                    )
                };
                rows.extend(prefix.rules.iter().map(row));
            }
        }
        rows
    }

    fn counters(&self, reports: &[Report]) -> Answer {
        let kernel = match self.publisher.kernel().counters() {
            Ok(counters) => counters,
            Err(error) => return Answer::Failed(error.to_string()),
        };
        let spec = self.publisher.spec();
        let table = [
            ("generation", spec.generation.0),
            ("ports", spec.ports.len() as u64),
            ("nodes", spec.next_hops.len() as u64),
        ];
        let mut counters = Counters {
            table: table.map(|(name, n)| (name.to_owned(), n)).into(),
            kernel: kernel
                .into_iter()
                .map(|(c, n)| (c.label().to_owned(), n))
                .collect(),
            ..Counters::default()
        };
        for report in reports {
            add_report(&mut counters, report);
        }
        Answer::Counters(Box::new(counters))
    }
}

fn pod_name(pod: &PodRef) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

fn add_report(counters: &mut Counters, report: &Report) {
    let stats = &report.stats;
    let workers = [
        ("received", stats.received),
        ("encapsulated", stats.encapsulated),
        ("delivered", stats.delivered),
        ("handed_over", stats.handed_over),
        ("continued", stats.continued),
        ("icmp_sent", stats.icmp_sent),
        ("fragmented", stats.fragmented),
        ("pieces", stats.pieces),
        ("flows", report.flows as u64),
        ("unrecorded", report.unrecorded),
        ("gate_rx_ring_full", report.io.gate.rx_ring_full),
        ("gate_rx_dropped", report.io.gate.rx_dropped),
        ("gate_fill_ring_empty", report.io.gate.fill_ring_empty),
        ("rx_oversized", report.io.rx_oversized),
        (
            "tx_invalid",
            report.io.gate.tx_invalid + report.io.uplink.tx_invalid,
        ),
        ("kicks", report.io.kicks),
        ("link_down", report.io.link_down),
    ];
    let frames = [
        ("free", report.frames.free),
        ("held", report.frames.held),
        ("kernel", report.frames.kernel),
        ("total", report.frames.total),
        ("lost", report.frames.lost),
    ];
    for (name, n) in workers {
        *counters.workers.entry(name.to_owned()).or_default() += n;
    }
    for (name, n) in frames {
        *counters.frames.entry(name.to_owned()).or_default() += n as u64;
    }
    for reason in DropReason::ALL {
        let n = stats.dropped(*reason);
        if n > 0 {
            *counters
                .dropped
                .entry(reason.label().to_owned())
                .or_default() += n;
        }
    }
    for (path, tally) in stats.paths() {
        let n = tally.encapsulated + tally.delivered + tally.handed_over;
        *counters.paths.entry(path.get()).or_default() += n;
    }
}

fn select_row(
    port: &PortSpec,
    pod: &str,
    prefix: &str,
    rule: Rule,
    decision: Decision,
    paths: &[PathSpec],
) -> SelectRow {
    let ports = match (rule.first_port, rule.last_port) {
        (0, u16::MAX) => "0".to_owned(),
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    let path = decision
        .path
        .and_then(|id| paths.iter().find(|p| p.id == id));
    SelectRow {
        endpoint: port.id.0,
        direction: "egress".into(),
        port: format!("{ports}/{}", protocol_name(rule.protocol)),
        prefix: prefix.to_owned(),
        path: decision.path.map(|id| id.get()),
        index: path.map_or(0, |p| u8::try_from(p.functions.len()).unwrap_or(u8::MAX)),
        pod: pod.to_owned(),
        policy: if rule.policy == POLICY_OPEN {
            "Open"
        } else {
            "Closed"
        }
        .into(),
    }
}

fn flow_row(row: &xsteer_dataplane::worker::FlowRow) -> FlowRow {
    let socket = |address, port| std::net::SocketAddr::new(address, port).to_string();
    FlowRow {
        endpoint: row.port.0,
        protocol: row.key.protocol,
        source: socket(row.key.source, row.key.sport),
        destination: socket(row.key.destination, row.key.dport),
        path: row.flow.path.get(),
        index: row.flow.si,
        pod: row.flow.backend.to_string(),
        ttl: row.flow.ttl,
    }
}
