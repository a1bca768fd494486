//! `make demo`: what xsteer does, shown on real packets between three nodes on this machine.
#![forbid(unsafe_code)]

use std::io::{IsTerminal as _, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use xsteer_bench::demo::{Options, run};

/// Three nodes, a firewall and a proxy in network namespaces, shown packet by packet
#[derive(Debug, Parser)]
#[command(name = "xsteer-demo", version)]
struct Arguments {
    /// The xsteer binary; the one beside this program when absent
    #[arg(long)]
    xsteer: Option<PathBuf>,
    /// Short transfers, at MTU 1500 only
    #[arg(long)]
    quick: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if !nix::unistd::geteuid().is_root() {
        bail!("the demo makes network namespaces and loads kernel programs: run it as root");
    }
    let options = Options {
        xsteer: binary(arguments.xsteer)?,
        quick: arguments.quick,
        colour: stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        interrupted: Arc::new(AtomicBool::new(false)),
    };
    watch_signals(&options.interrupted)?;
    match run(&options, &mut stdout().lock()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // What failed then is the signal's doing: it went to the demo's children as well.
        Err(_) if options.interrupted.load(Ordering::Relaxed) => {
            eprintln!("xsteer-demo: interrupted; everything it built is removed");
            Ok(ExitCode::from(130))
        }
        Err(failure) => Err(failure.into()),
    }
}

fn binary(named: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let path = match named {
        Some(path) => path,
        None => std::env::current_exe()
            .context("find this program's own file")?
            .with_file_name("xsteer"),
    };
    path.canonicalize()
        .with_context(|| format!("{}: no xsteer there; build it or name one", path.display()))
}

/// Turns the signals that end a program into a wish: the demo ends at its next step, and every
/// namespace and process with it.
fn watch_signals(interrupted: &Arc<AtomicBool>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("start the signal thread")?;
    let inside = runtime.enter();
    let catch = |kind| signal(kind).context("catch a signal");
    let mut interrupt = catch(SignalKind::interrupt())?;
    let mut terminate = catch(SignalKind::terminate())?;
    let mut hangup = catch(SignalKind::hangup())?;
    drop(inside);
    let interrupted = Arc::clone(interrupted);
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        interrupted.store(true, Ordering::Relaxed);
    });
    Ok(())
}
