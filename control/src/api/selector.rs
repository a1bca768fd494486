//! `TrafficSelector`: which packets of which pods go through a chain.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FailurePolicy, LabelSelector};

/// Which packets of which pods go through a chain.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "networking.gke.io",
    version = "v1",
    kind = "TrafficSelector",
    plural = "trafficselectors",
    shortname = "tsel",
    category = "xsteer",
    status = "TrafficSelectorStatus",
    derive = "PartialEq",
    doc = "Selects the packets of pods that pass through a service function chain.",
    printcolumn = r#"{"name":"Chain","type":"string","jsonPath":".spec.serviceFunctionChain"}"#,
    printcolumn = r#"{"name":"To","type":"string","jsonPath":".spec.egress.to.ipBlock.cidr"}"#,
    printcolumn = r#"{"name":"Programmed","type":"string","jsonPath":".status.conditions[?(@.type=='Programmed')].status"}"#,
    printcolumn = r#"{"name":"Conflicted","type":"string","jsonPath":".status.conditions[?(@.type=='Conflicted')].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct TrafficSelectorSpec {
    /// Name of the chain.
    #[schemars(length(min = 1, max = 253))]
    pub service_function_chain: String,
    /// Overrides the chain's policy, and holds also while the chain is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_policy: Option<FailurePolicy>,
    /// Whose packets.
    pub subject: Subject,
    /// Which packets.
    pub egress: Egress,
}

/// Whose packets are selected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true, "maxProperties" = 2))]
pub struct Subject {
    /// The pods.
    pub pods: Pods,
    /// The pods' network: empty or `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["", "default"]))]
    pub network: Option<String>,
}

/// Pods, by the labels of their namespace and their own; both must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true, "maxProperties" = 2))]
pub struct Pods {
    /// Labels of the namespace; `{}` for every namespace.
    pub namespace_selector: LabelSelector,
    /// Labels of the pod; `{}` for every pod.
    pub pod_selector: LabelSelector,
}

/// Which packets leaving a pod are selected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend(
    "x-kubernetes-preserve-unknown-fields" = true,
    "oneOf" = [
        {"maxProperties": 1, "required": ["ports"]},
        {"maxProperties": 2, "required": ["ports", "to"]}
    ]
))]
pub struct Egress {
    /// Destination; every destination of both families when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Destination>,
    /// Protocols and destination ports; a packet must fit one of them.
    #[schemars(extend("minItems" = 1, "maxItems" = 10, "x-kubernetes-list-type" = "atomic"))]
    pub ports: Vec<PortRule>,
}

/// A destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true, "maxProperties" = 1))]
pub struct Destination {
    /// A block of addresses.
    pub ip_block: IpBlock,
}

/// A block of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend(
    "x-kubernetes-preserve-unknown-fields" = true,
    "oneOf" = [
        {"maxProperties": 1, "required": ["cidr"]},
        {"maxProperties": 2, "required": ["cidr", "except"]}
    ]
))]
pub struct IpBlock {
    /// The block, without host bits.
    #[schemars(length(max = 43))]
    pub cidr: String,
    /// Blocks inside `cidr` that this selector never takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 32, "x-kubernetes-list-type" = "atomic"))]
    pub except: Vec<String>,
}

/// Exactly one of `allPorts` and `portNumber`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend(
    "x-kubernetes-preserve-unknown-fields" = true,
    "oneOf" = [
        {"maxProperties": 1, "required": ["allPorts"]},
        {"maxProperties": 1, "required": ["portNumber"]}
    ]
))]
pub struct PortRule {
    /// Every port of a protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_ports: Option<AllPorts>,
    /// A port or a range of ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_number: Option<PortNumber>,
}

/// Every port of a protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true, "maxProperties" = 1))]
pub struct AllPorts {
    /// The protocol.
    pub protocol: Protocol,
}

/// A port or a range of ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true, "maxProperties" = 3))]
pub struct PortNumber {
    /// The destination port, or the first one of a range.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// The last port of the range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub end_port: Option<i32>,
    /// The protocol.
    pub protocol: Protocol,
}

/// Protocol of a [`PortRule`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Protocol {
    /// TCP.
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP.
    #[serde(rename = "UDP")]
    Udp,
    /// SCTP.
    #[serde(rename = "SCTP")]
    Sctp,
    /// ICMP for IPv4, ICMPv6 for IPv6.
    #[serde(rename = "ICMP")]
    Icmp,
    /// Every protocol.
    Any,
}

/// What the controller says about a selector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrafficSelectorStatus {
    /// `Accepted`, `ResolvedRefs`, `Conflicted`, `Programmed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
