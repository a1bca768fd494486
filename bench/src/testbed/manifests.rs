//! The folder of ordinary Kubernetes YAML that stands for the cluster's API.
//!
//! One file per object, replaced by renaming, so that a reader sees the old or the new one.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::failure::{During as _, Result};
use super::{Node, Pod, create_directory};

/// The samples that are objects of ours. The third, `service_function.yaml`, holds the workloads:
/// a testbed's pods are their replicas, and are written with the addresses they really have.
const SAMPLES: [&str; 2] = ["ServiceFunctionChain.yaml", "TrafficSelector.yaml"];

/// A folder for the directory source.
#[derive(Debug)]
pub struct Manifests {
    directory: PathBuf,
}

impl Manifests {
    pub(super) fn create(directory: PathBuf) -> Result<Self> {
        create_directory(&directory)?;
        Ok(Self { directory })
    }

    /// The folder itself.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes or replaces one file.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, name: &str, content: &str) -> Result<()> {
        let (path, new) = (
            self.directory.join(name),
            self.directory.join(format!(".{name}.new")),
        );
        fs::write(&new, content).during(|| format!("write {}", new.display()))?;
        fs::rename(&new, &path).during(|| format!("rename to {}", path.display()))
    }

    /// Removes one file.
    ///
    /// # Errors
    /// When it is not there or can't be removed.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.directory.join(name);
        fs::remove_file(&path).during(|| format!("remove {}", path.display()))
    }

    /// Copies the project's sample chains and selectors, unchanged.
    ///
    /// # Errors
    /// When a sample is missing or the copy can't be written.
    pub fn copy_samples(&self) -> Result<()> {
        SAMPLES
            .iter()
            .try_for_each(|name| self.write(name, &Self::sample(name)?))
    }

    /// Text of a file of `manifests/samples`.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn sample(name: &str) -> Result<String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../manifests/samples")
            .join(name);
        fs::read_to_string(&path).during(|| format!("read {}", path.display()))
    }

    /// Writes a Namespace with the label that every namespace has.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write_namespace(&self, name: &str) -> Result<()> {
        let content = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels:\n    \
             kubernetes.io/metadata.name: {name}\n"
        );
        self.write(&format!("namespace-{name}.yaml"), &content)
    }

    /// Writes a ready Node.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write_node(&self, node: &Node) -> Result<()> {
        let (name, cidrs) = (node.name(), node.pod_cidrs());
        let mut content = format!(
            "apiVersion: v1\nkind: Node\nmetadata:\n  name: {name}\nspec:\n  podCIDR: {:?}\n  \
             podCIDRs: {cidrs:?}\nstatus:\n  addresses:\n",
            cidrs[0]
        );
        for address in node.addresses() {
            let text = address.to_string();
            let _ = writeln!(content, "  - type: InternalIP\n    address: {text:?}");
        }
        content.push_str("  conditions:\n  - type: Ready\n    status: \"True\"\n");
        self.write(&format!("node-{name}.yaml"), &content)
    }

    /// Writes a running Pod with its addresses, and its Namespace.
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn write_pod(&self, pod: &Pod, ready: bool) -> Result<()> {
        self.write_namespace(&pod.config().namespace)?;
        self.write(&Self::pod_file(pod), &pod_yaml(pod, ready))
    }

    /// Removes a Pod; its Namespace stays.
    ///
    /// # Errors
    /// When its file is not there.
    pub fn remove_pod(&self, pod: &Pod) -> Result<()> {
        self.remove(&Self::pod_file(pod))
    }

    fn pod_file(pod: &Pod) -> String {
        format!("pod-{}-{}.yaml", pod.config().namespace, pod.config().name)
    }
}

fn pod_yaml(pod: &Pod, ready: bool) -> String {
    let config = pod.config();
    let (name, namespace) = (&config.name, &config.namespace);
    let mut yaml = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: {namespace}\n  labels:\n"
    );
    for (key, value) in &config.labels {
        let _ = writeln!(yaml, "    {key:?}: {value:?}");
    }
    let (node, host) = (pod.node(), pod.node_address().to_string());
    let address = pod.address().to_string();
    let _ = write!(
        yaml,
        "spec:\n  nodeName: {node}\n  containers:\n  - name: {name}\n    image: {namespace}\n\
         status:\n  phase: Running\n  hostIP: {host:?}\n  podIP: {address:?}\n  podIPs:\n"
    );
    for address in pod.addresses() {
        let text = address.to_string();
        let _ = writeln!(yaml, "  - ip: {text:?}");
    }
    let status = if ready { "True" } else { "False" };
    let _ = writeln!(
        yaml,
        "  conditions:\n  - type: Ready\n    status: {status:?}"
    );
    yaml
}
