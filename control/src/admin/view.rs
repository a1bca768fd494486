//! Rows of the commands, as JSON and as columns. Columns as in GKE's documentation.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// One function of one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathRow {
    /// Service path id.
    pub path: u32,
    /// Service index.
    pub index: u8,
    /// The chain.
    pub chain: String,
    /// The function's name.
    pub function: String,
    /// The function's ClusterIP.
    pub address: Option<String>,
    /// Ready pods: `namespace/name@node`.
    pub pods: Vec<String>,
}

/// One prefix and port of one pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SelectRow {
    /// Endpoint (pod) id.
    pub endpoint: u32,
    /// `egress`.
    pub direction: String,
    /// `443/TCP`, `0/UDP` for all ports, `80-90/TCP` for a range.
    pub port: String,
    /// Destination.
    pub prefix: String,
    /// Service path id; `None` = dropped, the chain is missing.
    pub path: Option<u32>,
    /// First service index.
    pub index: u8,
    /// The pod, `namespace/name`.
    pub pod: String,
    /// `Closed` or `Open`.
    pub policy: String,
}

/// One flow in state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowRow {
    /// Endpoint (pod) id that the flow left.
    pub endpoint: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// `address:port`.
    pub source: String,
    /// `address:port`.
    pub destination: String,
    /// Service path id.
    pub path: u32,
    /// Service index.
    pub index: u8,
    /// The pod it is pinned to.
    pub pod: String,
    /// Hop budget.
    pub ttl: u8,
}

/// Everything that is counted on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// The table in force: its generation, ports, other nodes that can be reached.
    pub table: BTreeMap<String, u64>,
    /// The kernel programs'.
    pub kernel: BTreeMap<String, u64>,
    /// The workers', summed.
    pub workers: BTreeMap<String, u64>,
    /// Drops by reason, the workers' summed; zero ones left out.
    pub dropped: BTreeMap<String, u64>,
    /// Packets sent on for each service path id.
    pub paths: BTreeMap<u32, u64>,
    /// Frames of all workers: free, held, in the kernel, total.
    pub frames: BTreeMap<String, u64>,
}

/// How a listing is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Columns.
    #[default]
    Table,
    /// More columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// A row that prints as columns.
pub trait Row: Serialize {
    /// Column heads.
    fn heads(wide: bool) -> Vec<&'static str>;
    /// The cells, as many as heads.
    fn cells(&self, wide: bool) -> Vec<String>;
}

impl Row for PathRow {
    fn heads(wide: bool) -> Vec<&'static str> {
        let mut heads = vec!["PATH", "SERVICE FUNCTION ADDRESS"];
        if wide {
            heads.extend(["CHAIN", "FUNCTION", "READY PODS"]);
        }
        heads
    }

    fn cells(&self, wide: bool) -> Vec<String> {
        let address = self.address.clone().unwrap_or_else(|| "<none>".into());
        let mut cells = vec![format!("({}, {})", self.path, self.index), address];
        if wide {
            let pods = if self.pods.is_empty() {
                "<none>".into()
            } else {
                self.pods.join(",")
            };
            cells.extend([self.chain.clone(), self.function.clone(), pods]);
        }
        cells
    }
}

impl Row for SelectRow {
    fn heads(wide: bool) -> Vec<&'static str> {
        let mut heads = vec!["SELECTOR", "PATH"];
        if wide {
            heads.extend(["POD", "POLICY"]);
        }
        heads
    }

    fn cells(&self, wide: bool) -> Vec<String> {
        let Self {
            endpoint,
            direction,
            port,
            prefix,
            ..
        } = self;
        let path = match self.path {
            Some(path) => format!("({path}, {})", self.index),
            None => "<dropped: chain missing>".into(),
        };
        let mut cells = vec![format!("{endpoint}, {direction}, {port}, {prefix}"), path];
        if wide {
            cells.extend([self.pod.clone(), self.policy.clone()]);
        }
        cells
    }
}

impl Row for FlowRow {
    fn heads(wide: bool) -> Vec<&'static str> {
        let mut heads = vec!["ENDPOINT", "FLOW", "PATH", "POD"];
        if wide {
            heads.push("TTL");
        }
        heads
    }

    fn cells(&self, wide: bool) -> Vec<String> {
        let Self {
            endpoint,
            protocol,
            source,
            destination,
            path,
            index,
            pod,
            ttl,
        } = self;
        let protocol = protocol_name(*protocol);
        let mut cells = vec![
            endpoint.to_string(),
            format!("{protocol} {source} -> {destination}"),
            format!("({path}, {index})"),
            pod.clone(),
        ];
        if wide {
            cells.push(ttl.to_string());
        }
        cells
    }
}

/// `TCP`, `UDP`, …, or the number.
#[must_use]
pub fn protocol_name(protocol: u8) -> String {
    match protocol {
        0 => "Any".into(),
        1 => "ICMP".into(),
        6 => "TCP".into(),
        17 => "UDP".into(),
        58 => "ICMPv6".into(),
        132 => "SCTP".into(),
        other => other.to_string(),
    }
}

/// Prints `rows` as asked.
///
/// # Errors
/// Never for the rows here; the encoders' errors are handed on.
pub fn render<R: Row>(rows: &[R], output: Output) -> anyhow::Result<String> {
    Ok(match output {
        Output::Json => serde_json::to_string_pretty(rows)? + "\n",
        Output::Yaml => serde_yaml::to_string(rows)?,
        Output::Table => columns(rows, false),
        Output::Wide => columns(rows, true),
    })
}

fn columns<R: Row>(rows: &[R], wide: bool) -> String {
    let heads: Vec<String> = R::heads(wide).into_iter().map(String::from).collect();
    let lines: Vec<Vec<String>> = std::iter::once(heads)
        .chain(rows.iter().map(|row| row.cells(wide)))
        .collect();
    let width = |i: usize| lines.iter().map(|line| line[i].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let mut out = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            // Writing to a String can't fail.
            let _ = write!(out, "{cell:<width$}   ");
        }
        text.push_str(out.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_as_in_gkes_documentation() {
        let paths = [PathRow {
            path: 1,
            index: 1,
            chain: "firewall".into(),
            function: "firewall".into(),
            address: Some("10.4.10.124".into()),
            pods: vec![],
        }];
        let text = render(&paths, Output::Table).unwrap();
        assert_eq!(
            text,
            "PATH     SERVICE FUNCTION ADDRESS\n(1, 1)   10.4.10.124\n"
        );
        let selectors = [SelectRow {
            endpoint: 3783,
            direction: "egress".into(),
            port: "0/TCP".into(),
            prefix: "10.0.2.12/32".into(),
            path: Some(1),
            index: 1,
            pod: "vpn/vpn".into(),
            policy: "Closed".into(),
        }];
        let text = render(&selectors, Output::Table).unwrap();
        assert_eq!(
            text,
            "SELECTOR                            PATH\n3783, egress, 0/TCP, 10.0.2.12/32   (1, 1)\n"
        );
    }

    #[test]
    fn json_and_yaml_read_back() {
        let rows = [PathRow {
            path: 7,
            index: 2,
            chain: "c".into(),
            function: "f".into(),
            address: None,
            pods: vec!["ns/p@n".into()],
        }];
        let json = render(&rows, Output::Json).unwrap();
        assert_eq!(serde_json::from_str::<Vec<PathRow>>(&json).unwrap(), rows);
        let yaml = render(&rows, Output::Yaml).unwrap();
        assert_eq!(serde_yaml::from_str::<Vec<PathRow>>(&yaml).unwrap(), rows);
    }
}
