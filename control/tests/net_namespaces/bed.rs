//! Network namespaces of one test, deleted with it, and threads inside them.

use std::{
    fs::File,
    future::Future,
    process::{Command, id},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nix::sched::{CloneFlags, setns};
use tokio::time::{Instant, timeout_at};
use xsteer_control::net::{Netlink, Snapshot, Watcher, snapshot};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// How long a condition may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// The namespaces of one test, by role.
pub(crate) struct Bed {
    prefix: String,
    roles: Vec<String>,
}

impl Bed {
    /// Makes a namespace for each role, loopback up.
    pub(crate) fn new(roles: &[&str]) -> Self {
        let prefix = format!("xstn{}-{}", id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut bed = Self {
            prefix,
            roles: Vec::new(),
        };
        for role in roles {
            run("ip", &format!("netns add {}", bed.name(role)));
            bed.roles.push((*role).to_owned());
            bed.ip(role, "link set lo up");
        }
        bed
    }

    /// The namespace's name.
    pub(crate) fn name(&self, role: &str) -> String {
        format!("{}-{role}", self.prefix)
    }

    /// Runs `ip` in a namespace; `{role}` stands for the name of another.
    pub(crate) fn ip(&self, role: &str, arguments: &str) -> String {
        let named = self.roles.iter().fold(arguments.to_owned(), |text, other| {
            text.replace(&format!("{{{other}}}"), &self.name(other))
        });
        run("ip", &format!("-n {} {named}", self.name(role)))
    }

    /// Waits until the kernel has acted on an interface's carrier, which it does later, by a work
    /// queue (net/core/link_watch.c). Twice on a loaded machine a provoked neighbour or an IPv6
    /// route was missing; that this event took them away is inferred, not shown.
    pub(crate) fn settle(&self, role: &str, link: &str) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !self
            .ip(role, &format!("-o link show dev {link}"))
            .contains("state UP")
        {
            assert!(
                std::time::Instant::now() < deadline,
                "{link} of {role} does not come up"
            );
            std::thread::yield_now();
        }
    }

    /// Runs another program in a namespace.
    pub(crate) fn exec(&self, role: &str, command: &str) -> String {
        run("ip", &format!("netns exec {} {command}", self.name(role)))
    }

    /// Runs the future that `make` gives on a thread inside a namespace.
    pub(crate) fn enter<F: Future>(&self, role: &str, make: impl FnOnce() -> F + Send) -> F::Output
    where
        F::Output: Send,
    {
        let file = File::open(format!("/run/netns/{}", self.name(role))).unwrap();
        let inside = || {
            setns(&file, CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async { make().await })
        };
        std::thread::scope(|scope| scope.spawn(inside).join().unwrap())
    }

    /// Reads a namespace once.
    pub(crate) fn snapshot(&self, role: &str) -> Snapshot {
        self.enter(role, || async {
            snapshot(&Netlink::connect().unwrap()).await.unwrap()
        })
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for role in &self.roles {
            let deleted = Command::new("ip")
                .args(["netns", "del", &self.name(role)])
                .status();
            if !deleted.is_ok_and(|status| status.success()) {
                eprintln!("namespace {} is left over", self.name(role));
            }
        }
    }
}

/// Takes snapshots as the watcher asks for them, until `wanted` finds something in one.
pub(crate) async fn eventually<T>(
    netlink: &Netlink,
    watcher: &mut Watcher,
    wanted: impl Fn(&Snapshot) -> Option<T>,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = snapshot(netlink).await.unwrap();
        if let Some(found) = wanted(&now) {
            return found;
        }
        let changed = timeout_at(deadline, watcher.changed()).await;
        changed
            .unwrap_or_else(|_| panic!("nothing came of it: {now:#?}"))
            .unwrap();
    }
}

fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {error}");
    String::from_utf8(output.stdout).unwrap()
}
