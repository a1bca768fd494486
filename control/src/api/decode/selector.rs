//! `spec` of a `TrafficSelector`, raw.

use ipnet::IpNet;
use serde_json::Value;

use super::labels;
use super::walk::{At, Fields, Shape, Slip, Walk};
use crate::api::labels::is_subdomain;
use crate::issue::IssueReason;

const SPEC: Shape = Shape {
    // `ingress` has its own answer.
    known: &[
        "serviceFunctionChain",
        "failurePolicy",
        "subject",
        "egress",
        "ingress",
    ],
    required: &["serviceFunctionChain", "subject", "egress"],
    example: "write spec: {serviceFunctionChain: …, subject: …, egress: …}",
    slip: |slip| match slip.key {
        "serviceFunctionChains" => Some("write serviceFunctionChain: and one name".into()),
        "podSelector" | "namespaceSelector" | "pods" => {
            Some("move it into subject: {pods: {namespaceSelector: …, podSelector: …}}".into())
        }
        _ => None,
    },
};

const SUBJECT: Shape = Shape {
    known: &["pods", "network"],
    required: &["pods"],
    example: "write subject: {pods: {namespaceSelector: …, podSelector: …}}",
    slip: |slip| match slip.key {
        "podSelector" | "namespaceSelector" => {
            Some("move it into pods: {namespaceSelector: …, podSelector: …}".into())
        }
        _ => None,
    },
};

const PODS: Shape = Shape {
    known: &["namespaceSelector", "podSelector"],
    required: &["namespaceSelector", "podSelector"],
    example: "write both namespaceSelector and podSelector, {} for all",
    slip: |_| None,
};

const EGRESS: Shape = Shape {
    known: &["to", "ports"],
    required: &["ports"],
    example: "write egress: {ports: [{allPorts: {protocol: TCP}}]}",
    slip: |slip| match slip.key {
        "ipBlock" | "cidr" => Some("move it into to: {ipBlock: {cidr: …}}".into()),
        _ => None,
    },
};

const TO: Shape = Shape {
    known: &["ipBlock"],
    required: &["ipBlock"],
    example: "write to: {ipBlock: {cidr: …}}, or remove to for every destination",
    slip: |slip| match slip.key {
        "cidr" | "except" => Some("move it into ipBlock: {cidr: …, except: […]}".into()),
        _ => None,
    },
};

const IP_BLOCK: Shape = Shape {
    known: &["cidr", "except"],
    required: &["cidr"],
    example: "write ipBlock: {cidr: 0.0.0.0/0}, or remove to for every destination",
    slip: |_| None,
};

const PORT: Shape = Shape {
    known: &["allPorts", "portNumber"],
    required: &[],
    example: "write allPorts: {protocol: TCP} or portNumber: {port: 443, protocol: TCP}",
    slip: misplaced_in_port,
};

const ALL_PORTS: Shape = Shape {
    known: &["protocol"],
    required: &["protocol"],
    example: "write allPorts: {protocol: TCP}",
    slip: |slip| match slip.key {
        "port" | "endPort" => Some("write portNumber: {port: …, protocol: …} instead".into()),
        _ => None,
    },
};

const PORT_NUMBER: Shape = Shape {
    known: &["port", "endPort", "protocol"],
    required: &["port", "protocol"],
    example: "write portNumber: {port: 443, protocol: TCP}",
    slip: |_| None,
};

const PROTOCOLS: &[&str] = &["TCP", "UDP", "SCTP", "ICMP", "Any"];

/// `protocol`, `port` and `endPort` stand beside `allPorts` or `portNumber` instead of inside.
fn misplaced_in_port(slip: &Slip) -> Option<String> {
    if !PORT_NUMBER.known.contains(&slip.key) {
        return None;
    }
    let text = |key: &str| match slip.map.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let protocol = text("protocol").unwrap_or_else(|| "…".to_owned());
    let numbers = ["port", "endPort"].iter();
    let numbers: String = numbers
        .filter_map(|key| Some(format!("{key}: {}, ", text(key)?)))
        .collect();
    if numbers.is_empty() && !slip.map.contains_key("portNumber") {
        Some(format!("write allPorts: {{protocol: {protocol}}}"))
    } else {
        let numbers = if numbers.is_empty() {
            "port: …, ".to_owned()
        } else {
            numbers
        };
        Some(format!(
            "write portNumber: {{{numbers}protocol: {protocol}}}"
        ))
    }
}

pub(super) fn spec(walk: &mut Walk, at: &At) {
    let Some(fields) = walk.fields(at, &SPEC) else {
        return;
    };
    if let Some(ingress) = fields.get("ingress") {
        let message = "ingress is not steered: a selector takes what its pods send";
        let mend = "remove it, and select the senders' egress instead";
        walk.error(&ingress.path, IssueReason::NotSupported, message, mend);
    }
    if let Some(chain) = fields.get("serviceFunctionChain") {
        walk.syntax(&chain, is_subdomain, "the name of a ServiceFunctionChain");
    }
    if let Some(policy) = fields.get("failurePolicy") {
        walk.choice(&policy, &["Closed", "Open"]);
    }
    if let Some(at) = fields.get("subject") {
        subject(walk, &at);
    }
    if let Some(at) = fields.get("egress") {
        egress(walk, &at);
    }
}

fn subject(walk: &mut Walk, at: &At) {
    let Some(fields) = walk.fields(at, &SUBJECT) else {
        return;
    };
    if let Some(network) = fields.get("network") {
        let text = walk.text(&network);
        if let Some(text) = text.filter(|text| !matches!(*text, "" | "default")) {
            let message = format!("network \"{text}\" is not steered");
            let mend = "write network: default, or remove it";
            walk.error(&network.path, IssueReason::NotSupported, message, mend);
        }
    }
    let Some(pods) = fields
        .get("pods")
        .and_then(|pods| walk.fields(&pods, &PODS))
    else {
        return;
    };
    for key in PODS.known {
        if let Some(at) = pods.get(key) {
            labels::selector(walk, &at);
        }
    }
}

fn egress(walk: &mut Walk, at: &At) {
    let Some(fields) = walk.fields(at, &EGRESS) else {
        return;
    };
    if let Some(to) = fields.get("to") {
        let block = walk.fields(&to, &TO).and_then(|to| to.get("ipBlock"));
        if let Some(fields) = block.and_then(|block| walk.fields(&block, &IP_BLOCK)) {
            ip_block(walk, &fields);
        }
    }
    if let Some(ports) = fields.get("ports") {
        for item in walk.list(&ports, 1..=10, "write a list of allPorts and portNumber") {
            port(walk, &item);
        }
    }
}

fn ip_block(walk: &mut Walk, fields: &Fields) {
    let outer = fields.get("cidr").and_then(|at| cidr(walk, &at));
    let Some(except) = fields.get("except") else {
        return;
    };
    for item in walk.list(&except, 0..=32, "write except: [a CIDR inside cidr]") {
        let inner = cidr(walk, &item);
        if let (Some(outer), Some(inner)) = (outer, inner)
            && !outer.contains(&inner)
        {
            let message = format!("{inner} is not inside {outer}");
            let mend = format!("give a block inside {outer}, or remove it");
            walk.error(&item.path, IssueReason::InvalidValue, message, mend);
        }
    }
}

fn cidr(walk: &mut Walk, at: &At) -> Option<IpNet> {
    let text = walk.text(at)?;
    let Ok(net) = text.parse::<IpNet>() else {
        let mend = match text.parse::<std::net::IpAddr>() {
            Ok(address) => format!("write {}", IpNet::from(address)),
            Err(_) => "write a CIDR like 10.0.0.0/8 or fd00::/8".to_owned(),
        };
        let message = format!("\"{text}\" is not a CIDR");
        walk.error(&at.path, IssueReason::InvalidValue, message, mend);
        return None;
    };
    let mapped = matches!(net, IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some());
    if mapped {
        let message = format!("\"{text}\" is an IPv4 block written as IPv6");
        walk.error(
            &at.path,
            IssueReason::InvalidValue,
            message,
            "write it as IPv4",
        );
        return None;
    }
    if net.trunc() != net {
        let message = format!("\"{text}\" has bits set behind its prefix");
        let mend = format!("write {}", net.trunc());
        walk.error(&at.path, IssueReason::InvalidValue, message, mend);
        return None;
    }
    Some(net)
}

fn port(walk: &mut Walk, at: &At) {
    let Some(fields) = walk.fields(at, &PORT) else {
        return;
    };
    let both = fields.has("allPorts") && fields.has("portNumber");
    let neither = !fields.has("allPorts") && !fields.has("portNumber");
    if both || neither {
        let message = if both {
            "has both allPorts and portNumber"
        } else {
            "has neither allPorts nor portNumber"
        };
        let reason = if both {
            IssueReason::Duplicate
        } else {
            IssueReason::MissingField
        };
        let mend = if both {
            "make two items of it"
        } else {
            PORT.example
        };
        walk.error(&at.path, reason, message, mend);
    }
    if let Some(fields) = fields
        .get("allPorts")
        .and_then(|at| walk.fields(&at, &ALL_PORTS))
        && let Some(protocol) = fields.get("protocol")
    {
        walk.choice(&protocol, PROTOCOLS);
    }
    if let Some(fields) = fields
        .get("portNumber")
        .and_then(|at| walk.fields(&at, &PORT_NUMBER))
    {
        port_number(walk, &fields);
    }
}

fn port_number(walk: &mut Walk, fields: &Fields) {
    let number = |walk: &mut Walk, key| walk.integer(&fields.get(key)?, 1..=65_535);
    let (first, last) = (number(walk, "port"), number(walk, "endPort"));
    if let (Some(first), Some(last), Some(at)) = (first, last, fields.get("endPort"))
        && last < first
    {
        let message = format!("{last} is less than port {first}");
        let mend = format!("write port: {last} and endPort: {first}");
        walk.error(&at.path, IssueReason::OutOfRange, message, mend);
    }
    let Some(at) = fields.get("protocol") else {
        return;
    };
    if walk.choice(&at, PROTOCOLS) == Some("ICMP") {
        let mend = "write allPorts: {protocol: ICMP}";
        walk.error(
            &at.path,
            IssueReason::InvalidValue,
            "ICMP has no ports",
            mend,
        );
    }
}
