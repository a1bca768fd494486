//! An agent's process in a node: started, asked, stopped, killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::failure::{During as _, Result, wait_for, wait_until};
use super::{Namespace, Node, create_directory, run};

/// Time a terminated agent gets to take everything off.
const EXIT_WAIT: Duration = Duration::from_secs(20);

/// How an agent is started.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Folder of the directory source.
    pub source: PathBuf,
    /// Worker threads.
    pub workers: u32,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Environment variables, such as the log filter.
    pub environment: Vec<(String, String)>,
}

impl AgentConfig {
    /// One worker on a folder.
    #[must_use]
    pub fn new(source: &Path) -> Self {
        Self {
            source: source.to_owned(),
            workers: 1,
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }
}

/// A running agent, killed when dropped.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    binary: PathBuf,
    namespace: Namespace,
    run_dir: PathBuf,
    bpf_root: PathBuf,
    log: PathBuf,
}

impl Agent {
    pub(super) fn start(
        node: &Node,
        name: &str,
        directory: &Path,
        binary: &Path,
        config: &AgentConfig,
    ) -> Result<Self> {
        let run_dir = Path::new("/run").join(name);
        let bpf_root = Path::new("/sys/fs/bpf").join(name);
        create_directory(&run_dir)?;
        let log = directory.join(format!("agent-{}.log", node.name()));
        let opened = File::options().create(true).append(true).open(&log);
        let opened = opened.during(|| format!("open {}", log.display()))?;
        let errors = opened
            .try_clone()
            .during(|| format!("share {}", log.display()))?;
        let mut command = node.namespace().command(binary);
        command
            .arg("agent")
            .arg("--source")
            .arg(format!("dir:{}", config.source.display()));
        command.args(["--node-name", &node.name(), "--uplink", Node::UPLINK]);
        command.args(["--workers", &config.workers.to_string()]);
        command
            .arg("--bpf-root")
            .arg(&bpf_root)
            .arg("--run-dir")
            .arg(&run_dir);
        command
            .args(&config.arguments)
            .envs(config.environment.iter().cloned());
        let child = command
            .stdin(Stdio::null())
            .stdout(opened)
            .stderr(errors)
            .spawn();
        let child = child.during(|| format!("start the agent of {}", node.name()))?;
        let (binary, namespace) = (binary.to_owned(), node.namespace().clone());
        Ok(Self {
            child,
            binary,
            namespace,
            run_dir,
            bpf_root,
            log,
        })
    }

    /// Process id of the agent itself: nsenter replaces itself by it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its admin socket is.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// Where its programs and maps are pinned.
    #[must_use]
    pub fn bpf_root(&self) -> &Path {
        &self.bpf_root
    }

    /// What it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Runs `xsteer ARGUMENTS --run-dir …` in the node and returns what it prints.
    ///
    /// # Errors
    /// When it ends with an error, such as while the agent does not listen yet.
    pub fn ask(&self, arguments: &[&str]) -> Result<String> {
        run(self
            .namespace
            .command(&self.binary)
            .args(arguments)
            .arg("--run-dir")
            .arg(&self.run_dir))
    }

    /// A command of the binary in the node, such as `detach`, without further arguments.
    #[must_use]
    pub fn command(&self) -> Command {
        self.namespace.command(&self.binary)
    }

    /// Sends a signal to the agent.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()).map(Pid::from_raw);
        let pid = pid.map_err(|_| super::Failure::Unexpected("process id too large".to_owned()))?;
        kill(pid, signal).during(|| format!("send {signal} to the agent {pid}"))
    }

    /// Stops the process where it is, as SIGSTOP does; returns once every thread stands.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        wait_until("every thread of the agent stands", EXIT_WAIT, || {
            self.is_stopped()
        })
    }

    /// Whether all threads are stopped: a running one stops only when it enters the kernel next.
    fn is_stopped(&self) -> bool {
        let tasks = format!("/proc/{}/task", self.pid());
        let stopped = |task: fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat"));
            stat.is_ok_and(|stat| {
                stat.rsplit(") ")
                    .next()
                    .is_some_and(|rest| rest.starts_with('T'))
            })
        };
        fs::read_dir(tasks).is_ok_and(|tasks| tasks.flatten().all(stopped))
    }

    /// Lets a frozen process go on.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Kills the process, which gets no chance to take anything off.
    ///
    /// # Errors
    /// When the process can't be waited for.
    pub fn kill(mut self) -> Result<()> {
        self.end()
    }

    /// Asks the process to end and waits for it.
    ///
    /// # Errors
    /// When it has not ended in time.
    pub fn terminate(mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        wait_for("the agent ends on SIGTERM", EXIT_WAIT, || {
            self.child.try_wait().ok().flatten()
        })
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn end(&mut self) -> Result<()> {
        // A process that has ended already can only be waited for.
        let _ = self.child.kill();
        self.child
            .wait()
            .map(drop)
            .during(|| format!("wait for the agent {}", self.pid()))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let stats = std::thread::panicking().then(|| self.ask(&["stats"]));
        if let Err(failure) = self.end() {
            eprintln!("{failure}");
        }
        if let Some(stats) = stats {
            let stats = stats.unwrap_or_else(|failure| failure.to_string());
            let name = self.namespace.name();
            eprintln!("--- the agent in {name} has counted:\n{stats}");
            eprintln!("--- log of the agent in {name}:\n{}", self.log());
        }
    }
}
