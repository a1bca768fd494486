//! Raw objects to the parts of an inventory. Kinds that steering does not need are passed over.

use std::collections::HashSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;
use kube::ResourceExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::{
    API_VERSION, CHAIN, GROUP, SELECTOR, ServiceFunctionChain, TrafficSelector, decode_chain,
    decode_selector, nearest, object_ref,
};
use crate::inventory::{NAMESPACE_NAME_LABEL, Namespace, Node, Phase, Pod};
use crate::issue::{Issue, IssueReason, ObjectRef, Severity};

/// What a set of raw objects holds.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) chains: Vec<ServiceFunctionChain>,
    pub(crate) selectors: Vec<TrafficSelector>,
    seen: HashSet<ObjectRef>,
}

impl Objects {
    /// Adds one object.
    ///
    /// # Errors
    /// Errors where it is refused; warnings alone where it is only passed over.
    pub(crate) fn add(&mut self, value: &Value) -> Result<(), Vec<Issue>> {
        let mut object = object_ref(value);
        match (text(value, "apiVersion"), object.kind.as_str()) {
            (API_VERSION, CHAIN) => {
                object.namespace.clear();
                let chain = decode_chain(value)?;
                self.once(object)?;
                self.chains.push(chain);
            }
            (API_VERSION, SELECTOR) => {
                object.namespace.clear();
                let selector = decode_selector(value)?;
                self.once(object)?;
                self.selectors.push(selector);
            }
            ("v1", "Namespace") => {
                let namespace = self.typed(object, value, namespace)?;
                self.namespaces.push(namespace);
            }
            ("v1", "Node") => {
                let node = self.typed(object, value, node)?;
                self.nodes.push(node);
            }
            ("v1", "Pod") => {
                let pod = self.typed(object, value, pod)?;
                self.pods.push(pod);
            }
            (version, kind) => {
                if let Some(issue) = misspelt(&object, version, kind) {
                    return Err(vec![issue]);
                }
            }
        }
        Ok(())
    }

    fn once(&mut self, object: ObjectRef) -> Result<(), Vec<Issue>> {
        if self.seen.insert(object.clone()) {
            return Ok(());
        }
        let message = "is given twice; the first one counts";
        let mend = "remove one of the two or give it another name";
        Err(vec![error(
            object,
            "metadata.name",
            IssueReason::Duplicate,
            message,
            mend,
        )])
    }

    fn typed<K: DeserializeOwned, T>(
        &mut self,
        object: ObjectRef,
        value: &Value,
        convert: fn(K) -> T,
    ) -> Result<T, Vec<Issue>> {
        let decoded = serde_json::from_value(value.clone()).map_err(|failure| {
            let mend = "mend it as Kubernetes' API reference says";
            let message = failure.to_string();
            vec![error(
                object.clone(),
                "",
                IssueReason::WrongType,
                &message,
                mend,
            )]
        })?;
        self.once(object)?;
        Ok(convert(decoded))
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn error(object: ObjectRef, field: &str, reason: IssueReason, message: &str, mend: &str) -> Issue {
    Issue {
        object,
        field: field.to_owned(),
        reason,
        message: message.to_owned(),
        mend: mend.to_owned(),
        severity: Severity::Error,
    }
}

/// Warns of an object that was probably meant to be one of ours.
fn misspelt(object: &ObjectRef, version: &str, kind: &str) -> Option<Issue> {
    let near = nearest(kind, &[CHAIN, SELECTOR]);
    let group = version.split('/').next().unwrap_or_default();
    let (field, want) = match near {
        Some(near) if near != kind => ("kind", near),
        Some(_) => ("apiVersion", API_VERSION),
        None if kind.is_empty() && nearest(group, &[GROUP]).is_some() => ("kind", SELECTOR),
        None => return None,
    };
    Some(Issue {
        severity: Severity::Warning,
        ..error(
            object.clone(),
            field,
            IssueReason::UnknownKind,
            "looks like a misspelling, and the object is passed over",
            &format!("did you mean {want}? write {field}: {want}"),
        )
    })
}

fn namespace(object: core::Namespace) -> Namespace {
    let name = object.name_any();
    let mut labels = object.metadata.labels.unwrap_or_default();
    labels.insert(NAMESPACE_NAME_LABEL.to_owned(), name.clone());
    Namespace { name, labels }
}

fn node(object: core::Node) -> Node {
    let name = object.name_any();
    let listed = object
        .status
        .and_then(|status| status.addresses)
        .unwrap_or_default();
    let internal = listed
        .iter()
        .filter(|address| address.type_ == "InternalIP");
    let spec = object.spec.unwrap_or_default();
    let cidrs = spec
        .pod_cidrs
        .unwrap_or_else(|| spec.pod_cidr.into_iter().collect());
    Node {
        name,
        addresses: internal
            .filter_map(|address| address.address.parse().ok())
            .collect(),
        pod_cidrs: cidrs.iter().filter_map(|cidr| cidr.parse().ok()).collect(),
    }
}

fn pod(object: core::Pod) -> Pod {
    let name = object.name_any();
    let namespace = object.namespace().unwrap_or_else(|| "default".to_owned());
    let terminating = object.metadata.deletion_timestamp.is_some();
    let spec = object.spec.unwrap_or_default();
    let status = object.status.unwrap_or_default();
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let condition = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready");
    let phase = match status.phase.as_deref() {
        Some("Running") => Phase::Running,
        Some("Succeeded" | "Failed") => Phase::Ended,
        _ => Phase::Pending,
    };
    Pod {
        namespace,
        name,
        uid: object.metadata.uid.unwrap_or_default(),
        node: spec.node_name.unwrap_or_default(),
        addresses: addresses(&status),
        labels: object.metadata.labels.unwrap_or_default(),
        phase,
        // A pod written by hand has no conditions: it is ready while it runs.
        ready: phase == Phase::Running && condition.is_none_or(|c| c.status == "True"),
        terminating,
        host_network: spec.host_network.unwrap_or_default(),
    }
}

fn addresses(status: &core::PodStatus) -> Vec<IpAddr> {
    let listed = status.pod_ips.as_deref().unwrap_or_default().iter();
    let all = status.pod_ip.iter().chain(listed.map(|entry| &entry.ip));
    let mut addresses = Vec::new();
    for address in all.filter_map(|text| text.parse().ok()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}
