//! `xsteer agent`: one control thread that reconciles whatever changed, and pinned workers.
//!
//! [`run`] sets up programs, gates and workers, then loops: a change of objects or of the
//! node's network -> `reconcile` -> publish. Everything is worked out anew from plain
//! snapshots; the publisher sends only differences. A failed pass leaves the last good table.

mod answers;
pub mod config;
mod devices;
mod lock;
mod reconcile;
mod setup;
pub mod workers;

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

pub use config::{AgentArgs, AgentConfig, OnExit, Source};

use crate::admin::server::{self, Question};
use crate::inventory::Inventory;
use crate::issue::Issue;
use crate::net::{Netlink, Watcher};
use crate::publish::Publisher;
use crate::resolve::Intent;
use crate::source::directory::{Directory, DirectoryConfig};
use workers::Workers;

/// Changes that come in a burst are reconciled together.
const DEBOUNCE: Duration = Duration::from_millis(10);
/// How often the workers are looked at: without one, its pods' packets are dropped or unsteered.
const LOOK: Duration = Duration::from_millis(500);
/// Next look at what could not be resolved yet (a MAC, an interface).
const RETRY: Duration = Duration::from_millis(300);

/// An agent at work.
pub struct Agent {
    config: AgentConfig,
    netlink: Netlink,
    uplink: crate::net::Uplink,
    node_address: std::net::IpAddr,
    started: std::time::Instant,
    publisher: Publisher,
    workers: Workers,
    gates: Vec<crate::net::gates::Gate>,
    ports: reconcile::PortIds,
    state: State,
}

/// What the last pass worked out, for the admin socket.
#[derive(Default)]
struct State {
    intent: Intent,
    pods: Vec<crate::compile::AttachedPod>,
    issues: Vec<Issue>,
    /// Something could not be resolved yet.
    incomplete: bool,
}

/// Runs an agent until SIGTERM or SIGINT.
///
/// # Errors
/// Where another agent runs with the same run folder; a worker has ended, or an interface of its
/// sockets is gone (programs and policies stay: the next agent begins anew); where programs, gates, sockets or the source
/// can't be set up.
pub async fn run(config: AgentConfig) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Held until all is taken off: the next agent must not find us half gone.
    let _lock = lock::RunLock::take(&config.run_dir)?;
    let Source::Directory(folder) = &config.source;
    let directory = Directory::open(&DirectoryConfig {
        folder: folder.clone(),
        state_folder: Some(config.run_dir.clone()),
        function_cidr: Some(config.function_cidr),
    })?;
    let inventory = directory.subscribe();
    let watcher = Watcher::connect()?;
    let mut agent = setup::agent(config).await?;
    let questions = server::listen(&agent.config.run_dir)?;
    tracing::info!(node = agent.config.node_name, "agent runs");
    tokio::select! {
        result = agent.serve(inventory, watcher, questions) => result?,
        result = directory.run() => result?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    agent.end().await
}

impl Agent {
    async fn serve(
        &mut self,
        mut inventory: watch::Receiver<Arc<Inventory>>,
        mut watcher: Watcher,
        mut questions: mpsc::Receiver<Question>,
    ) -> anyhow::Result<()> {
        let mut due = Some(Instant::now());
        let mut look = tokio::time::interval(LOOK);
        loop {
            let at = due.unwrap_or_else(Instant::now);
            tokio::select! {
                Some((request, reply)) = questions.recv() => {
                    // Whoever asked may be gone.
                    let _ = reply.send(self.answer(request));
                }
                changed = inventory.changed() => {
                    changed?;
                    due.get_or_insert(Instant::now() + DEBOUNCE);
                }
                changed = watcher.changed() => {
                    changed?;
                    due.get_or_insert(Instant::now() + DEBOUNCE);
                }
                _ = look.tick() => self.workers.verify_alive()?,
                () = sleep_until(at), if due.is_some() => {
                    let snapshot = Arc::clone(&inventory.borrow_and_update());
                    if let Err(error) = self.reconcile(&snapshot).await {
                        if error.is::<devices::DeviceGone>() {
                            return Err(error);
                        }
                        tracing::error!(error = format!("{error:#}"), "last good table stays");
                        self.state.incomplete = true;
                    }
                    due = self.state.incomplete.then(|| Instant::now() + RETRY);
                }
            }
        }
    }

    /// Ends workers; takes everything of ours off the node where the settings say so.
    async fn end(mut self) -> anyhow::Result<()> {
        self.workers.stop();
        let keep = self.config.on_exit == OnExit::Keep;
        let socket = self.config.run_dir.join(crate::admin::SOCKET);
        if std::fs::remove_file(&socket).is_err() {
            tracing::debug!(path = %socket.display(), "admin socket was gone");
        }
        let Self {
            config,
            netlink,
            publisher,
            ..
        } = self;
        drop(publisher);
        if keep {
            tracing::info!("agent ends; programs and policies stay");
            return Ok(());
        }
        let report = crate::detach::detach(&config.bpf_root, &netlink).await?;
        tracing::info!(%report, "agent ends; detached");
        Ok(())
    }
}
