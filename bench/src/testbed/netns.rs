//! One network namespace: made and named by iproute2, entered by a thread or a process.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use nix::sched::{CloneFlags, setns};

use super::failure::{During as _, Failure, Result};

/// Where iproute2 keeps named namespaces.
pub(super) const NETNS_DIR: &str = "/run/netns";

/// A named network namespace. A plain handle: the testbed that made it removes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace, its loopback up.
    pub(super) fn create(name: String) -> Result<Self> {
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Self { name };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// A handle to a namespace that exists already.
    pub(super) fn existing(name: String) -> Self {
        Self { name }
    }

    /// Removes the name; the kernel frees the namespace with its last process or socket.
    pub(super) fn delete(&self) -> Result<()> {
        run(Command::new("ip").args(["netns", "del", &self.name])).map(drop)
    }

    /// Name as `ip netns` knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// File that stands for the namespace.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new(NETNS_DIR).join(&self.name)
    }

    /// Runs iproute2 commands in the namespace, one per line, without the leading `ip`.
    ///
    /// # Errors
    /// What iproute2 says about the first line it refuses.
    pub fn ip(&self, lines: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name, "-batch", "-"]);
        run_with_input(&mut command, lines).map(drop)
    }

    /// A command that will run in this network namespace, and in our mount namespace:
    /// `ip netns exec` would hide /sys/fs/bpf.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path().display()))
            .arg("--")
            .arg(program);
        command
    }

    /// Runs a command in the namespace to its end and returns what it printed.
    ///
    /// # Errors
    /// [`Failure::Command`] when it can't be started or ends with an error.
    pub fn output(&self, program: &str, arguments: &[&str]) -> Result<String> {
        run(self.command(program).args(arguments))
    }

    /// Loads nftables rules in the namespace.
    ///
    /// # Errors
    /// What nft says about them.
    pub fn nft(&self, rules: &str) -> Result<()> {
        run_with_input(self.command("nft").args(["-f", "-"]), rules).map(drop)
    }

    /// Runs a closure on a thread of its own inside the namespace. Sockets that it returns stay
    /// in the namespace, whoever uses them.
    ///
    /// # Errors
    /// When the namespace can't be entered, or the closure fails.
    ///
    /// # Panics
    /// When the closure does.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let inner = scope.spawn(|| {
                self.enter_thread()?;
                inside()
            });
            match inner.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Moves the calling thread into the namespace for good.
    fn enter_thread(&self) -> Result<()> {
        let file = File::open(self.path()).during(|| format!("open namespace {}", self.name))?;
        setns(file, CloneFlags::CLONE_NEWNET).during(|| format!("enter namespace {}", self.name))
    }

    /// Sets kernel parameters below `/proc/sys/net`.
    ///
    /// # Errors
    /// When one is unknown or refused.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.enter(|| {
            for (key, value) in settings {
                let path = format!("/proc/sys/net/{key}");
                fs::write(&path, value).during(|| format!("write {path}"))?;
            }
            Ok(())
        })
    }

    /// Processes that run in the namespace, this one left out.
    pub(super) fn pids(&self) -> Vec<i32> {
        let own = i32::try_from(std::process::id()).ok();
        run(Command::new("ip").args(["netns", "pids", &self.name]))
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.trim().parse().ok())
            .filter(|pid| Some(*pid) != own)
            .collect()
    }
}

/// Runs a command to its end and returns its standard output.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let name = command_line(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .during(|| name.clone())?;
    checked(name, &output)
}

fn run_with_input(command: &mut Command, input: &str) -> Result<String> {
    let name = format!("{} <<< {input:?}", command_line(command));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .during(|| name.clone())?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).during(|| name.clone())?;
    }
    let output = child.wait_with_output().during(|| name.clone())?;
    checked(name, &output)
}

fn checked(command: String, output: &Output) -> Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::Command {
        command,
        stderr: format!("{} ({})", stderr, output.status),
    })
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
