//! `ServiceFunctionChain`: an ordered list of service functions.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xsteer_dataplane::table::spec;

/// An ordered list of service functions, and how flows are spread over their pods.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "networking.gke.io",
    version = "v1",
    kind = "ServiceFunctionChain",
    plural = "servicefunctionchains",
    shortname = "sfc",
    category = "xsteer",
    status = "ServiceFunctionChainStatus",
    derive = "PartialEq",
    doc = "An ordered list of service functions that selected traffic passes through.",
    printcolumn = r#"{"name":"Path","type":"integer","jsonPath":".status.servicePathId"}"#,
    printcolumn = r#"{"name":"Functions","type":"string","jsonPath":".status.functions"}"#,
    printcolumn = r#"{"name":"Policy","type":"string","jsonPath":".spec.failurePolicy"}"#,
    printcolumn = r#"{"name":"Programmed","type":"string","jsonPath":".status.conditions[?(@.type=='Programmed')].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct ServiceFunctionChainSpec {
    /// The functions in order of traversal. Names and order can't be changed later.
    #[schemars(extend("minItems" = 1, "maxItems" = 16, "x-kubernetes-list-type" = "atomic"))]
    pub service_functions: Vec<ServiceFunction>,
    /// Keeps a client on its pods; without it flows are spread by their 5-tuple.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<SessionAffinity>,
    /// Which pods of a function a node uses; `Cluster` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal_traffic_policy: Option<InternalTrafficPolicy>,
    /// What happens while no pod is ready or the node agent is down; `Closed` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_policy: Option<FailurePolicy>,
}

/// One service function of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct ServiceFunction {
    /// Name, unique in the chain: an RFC 1035 label.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Namespace of the function's pods.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// The function's pods.
    pub pod_selector: FunctionSelector,
}

/// Selects the pods of a function by labels alone, as the function's Service does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend(
    "x-kubernetes-map-type" = "atomic",
    "x-kubernetes-preserve-unknown-fields" = true,
    "maxProperties" = 1
))]
pub struct FunctionSelector {
    /// Labels that the pods have; at least one.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 32))]
    pub match_labels: BTreeMap<String, String>,
}

/// Session affinity; exactly one of the two spellings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend(
    "x-kubernetes-preserve-unknown-fields" = true,
    "minProperties" = 1,
    "maxProperties" = 1
))]
pub struct SessionAffinity {
    /// By the client's address, whatever the destination. GKE's pages spell it like this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ip_no_destination: Option<ClientIpAffinity>,
    /// The same, as GKE's CRD spells it.
    #[serde(
        default,
        rename = "clientIPNoDestination",
        skip_serializing_if = "Option::is_none"
    )]
    pub client_ip_no_destination_gke: Option<ClientIpAffinity>,
}

/// Affinity by the client's address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true, "maxProperties" = 1))]
pub struct ClientIpAffinity {
    /// Seconds without traffic after which a client is forgotten; 10800 when absent.
    // No serde default: schemars would write it into the schema, where it breaks server-side apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub timeout_seconds: Option<i32>,
}

/// Which pods of a function a node uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InternalTrafficPolicy {
    /// Those of every node.
    #[default]
    Cluster,
    /// Those of the same node only.
    Local,
    /// Those of the same node while one of them is ready, else those of every node.
    PreferLocal,
}

/// What happens to selected packets that can't be steered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FailurePolicy {
    /// They are dropped.
    #[default]
    Closed,
    /// They pass unsteered.
    Open,
}

impl From<FailurePolicy> for spec::FailurePolicy {
    fn from(policy: FailurePolicy) -> Self {
        match policy {
            FailurePolicy::Closed => Self::Closed,
            FailurePolicy::Open => Self::Open,
        }
    }
}

/// What the controller says about a chain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceFunctionChainStatus {
    /// Id of the service path, 1..=1048575; never changes while the chain lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_path_id: Option<i32>,
    /// Names of the functions, for `kubectl get`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub functions: Option<String>,
    /// `Accepted`, `ResolvedRefs`, `Programmed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl ServiceFunctionChainSpec {
    /// Seconds of affinity when the manifest names none.
    pub const DEFAULT_AFFINITY_SECONDS: i32 = 10_800;

    /// How long a client stays with its pods after the last use; `None` without affinity.
    #[must_use]
    pub fn affinity(&self) -> Option<Duration> {
        let affinity = self.session_affinity.as_ref()?;
        let client = affinity
            .client_ip_no_destination
            .as_ref()
            .or(affinity.client_ip_no_destination_gke.as_ref())?;
        let seconds = client
            .timeout_seconds
            .unwrap_or(Self::DEFAULT_AFFINITY_SECONDS);
        Some(Duration::from_secs(
            u64::try_from(seconds).unwrap_or_default(),
        ))
    }
}
