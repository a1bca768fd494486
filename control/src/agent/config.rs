//! What an agent is told: flags, and a YAML file under them.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::resolve::ResolveConfig;

/// Where desired state comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// A folder of Kubernetes YAML.
    Directory(PathBuf),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s.split_once(':') {
            Some(("dir", path)) if !path.is_empty() => Ok(Self::Directory(path.into())),
            _ => Err(format!("`{s}` is no source: write dir:PATH")),
        }
    }
}

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(s: String) -> Result<Self, String> {
        s.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        match source {
            Source::Directory(path) => format!("dir:{}", path.display()),
        }
    }
}

/// What happens to programs and maps when the agent ends by SIGTERM or SIGINT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnExit {
    /// They stay: `failurePolicy` decides until an agent is back.
    Keep,
    /// They go, and everything of ours with them.
    Detach,
}

/// Flags of `xsteer agent`. Each can stand in the file of `--config` as well, under its own name
/// in camelCase; flags win.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentArgs {
    /// Where desired state comes from: dir:PATH, a folder of Kubernetes YAML
    #[arg(long)]
    pub source: Option<Source>,
    /// Name of this node, as in the Node object
    #[arg(long)]
    pub node_name: Option<String>,
    /// Interface towards the other nodes [default: that of the default route]
    #[arg(long)]
    pub uplink: Option<String>,
    /// Worker threads, each pinned to a core [default: 1]
    #[arg(long)]
    pub workers: Option<u8>,
    /// Frames of 4096 bytes in each worker's UMEM [default: 8192]
    #[arg(long)]
    pub frames: Option<u32>,
    /// Never steered destinations: the cluster's Service CIDRs
    #[arg(long = "service-cidr")]
    #[serde(default)]
    pub service_cidrs: Vec<IpNet>,
    /// Range of the functions' addresses with a directory source [default: 10.4.0.0/16]
    #[arg(long)]
    pub function_cidr: Option<IpNet>,
    /// Leave the MSS of steered connections alone
    #[arg(long)]
    pub no_mss_clamp: Option<bool>,
    /// What happens to programs and maps at the end [default: detach with a directory source]
    #[arg(long)]
    pub on_exit: Option<OnExit>,
    /// Folder on a bpffs for pinned programs and maps [default: /sys/fs/bpf/xsteer]
    #[arg(long)]
    pub bpf_root: Option<PathBuf>,
    /// Folder of the admin socket and of state that outlives the agent [default: /run/xsteer]
    #[arg(long)]
    pub run_dir: Option<PathBuf>,
    /// Flows each worker keeps in state [default: 262144]
    #[arg(long)]
    pub flows: Option<usize>,
    /// This node's address for the outer header [default: the Node object's, else the uplink's]
    #[arg(long)]
    pub node_address: Option<IpAddr>,
}

/// Settings of an agent, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentConfig {
    /// See [`AgentArgs::source`].
    pub source: Source,
    /// See [`AgentArgs::node_name`].
    pub node_name: String,
    /// See [`AgentArgs::uplink`].
    pub uplink: Option<String>,
    /// See [`AgentArgs::workers`].
    pub workers: u8,
    /// See [`AgentArgs::frames`].
    pub frames: u32,
    /// See [`AgentArgs::service_cidrs`].
    pub service_cidrs: Vec<IpNet>,
    /// See [`AgentArgs::function_cidr`].
    pub function_cidr: IpNet,
    /// Clamp the MSS of steered connections.
    pub clamp_mss: bool,
    /// See [`AgentArgs::on_exit`].
    pub on_exit: OnExit,
    /// See [`AgentArgs::bpf_root`].
    pub bpf_root: PathBuf,
    /// See [`AgentArgs::run_dir`].
    pub run_dir: PathBuf,
    /// See [`AgentArgs::flows`].
    pub flows: usize,
    /// See [`AgentArgs::node_address`].
    pub node_address: Option<IpAddr>,
}

/// Why there are no complete settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{path} not read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_yaml::Error,
    },
    /// Something is missing.
    #[error("{0}")]
    Missing(&'static str),
}

/// Default folder of pins.
pub const BPF_ROOT: &str = "/sys/fs/bpf/xsteer";
/// Default folder of the admin socket.
pub const RUN_DIR: &str = "/run/xsteer";

impl AgentConfig {
    /// Flags over file over defaults.
    ///
    /// # Errors
    /// An unreadable or wrong file; no source or node name.
    pub fn new(args: AgentArgs, file: Option<&Path>) -> Result<Self, ConfigError> {
        let below = file.map(read).transpose()?.unwrap_or_default();
        let service_cidrs = if args.service_cidrs.is_empty() {
            below.service_cidrs
        } else {
            args.service_cidrs
        };
        let function_cidr = args.function_cidr.or(below.function_cidr);
        Ok(Self {
            source: args
                .source
                .or(below.source)
                .ok_or(ConfigError::Missing("no source: add --source dir:PATH"))?,
            node_name: args
                .node_name
                .or(below.node_name)
                .ok_or(ConfigError::Missing("no node name: add --node-name NAME"))?,
            uplink: args.uplink.or(below.uplink),
            workers: args.workers.or(below.workers).unwrap_or(1).max(1),
            frames: args.frames.or(below.frames).unwrap_or(8192),
            service_cidrs,
            function_cidr: function_cidr.unwrap_or_else(default_function_cidr),
            clamp_mss: !args.no_mss_clamp.or(below.no_mss_clamp).unwrap_or(false),
            on_exit: args.on_exit.or(below.on_exit).unwrap_or(OnExit::Detach),
            bpf_root: args
                .bpf_root
                .or(below.bpf_root)
                .unwrap_or_else(|| BPF_ROOT.into()),
            run_dir: args
                .run_dir
                .or(below.run_dir)
                .unwrap_or_else(|| RUN_DIR.into()),
            flows: args.flows.or(below.flows).unwrap_or(262_144),
            node_address: args.node_address.or(below.node_address),
        })
    }
}

impl AgentConfig {
    /// What resolving needs of it.
    #[must_use]
    pub fn resolve_config(&self) -> ResolveConfig {
        ResolveConfig {
            service_cidrs: self.service_cidrs.clone(),
        }
    }
}

fn default_function_cidr() -> IpNet {
    IpNet::from(ipnet::Ipv4Net::new_assert(
        std::net::Ipv4Addr::new(10, 4, 0, 0),
        16,
    ))
}

fn read(path: &Path) -> Result<AgentArgs, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.into(),
        source,
    })?;
    serde_yaml::from_str(&text).map_err(|source| ConfigError::Parse {
        path: path.into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!(
            "xsteer-config-{}-{:?}.yaml",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn flags_win_over_the_file() {
        let path = file("source: dir:/etc/a\nnodeName: from-file\nworkers: 3\n");
        let args = AgentArgs {
            node_name: Some("from-flag".into()),
            ..AgentArgs::default()
        };
        let config = AgentConfig::new(args, Some(&path)).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(config.node_name, "from-flag");
        assert_eq!(config.workers, 3);
        assert_eq!(config.source, Source::Directory("/etc/a".into()));
        assert_eq!(config.on_exit, OnExit::Detach);
    }

    #[test]
    fn an_unknown_key_in_the_file_is_refused_by_name() {
        let path = file("source: dir:/etc/a\nworker: 3\n");
        let error = AgentConfig::new(AgentArgs::default(), Some(&path)).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert!(error.to_string().contains("worker"), "{error}");
    }

    #[test]
    fn a_missing_source_says_what_to_add() {
        let error = AgentConfig::new(AgentArgs::default(), None).unwrap_err();
        assert!(error.to_string().contains("--source"), "{error}");
    }
}
