//! The command line of `xsteer`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};

use crate::admin::view::{Output, Row, render};
use crate::admin::{Answer, Request, client};
use crate::agent::{self, AgentArgs, AgentConfig};

/// Service steering for Kubernetes: selected pod egress through service functions, over AF_XDP
#[derive(Debug, Parser)]
#[command(name = "xsteer", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the node agent: programs, gates, workers
    Agent {
        #[command(flatten)]
        args: Box<AgentArgs>,
        /// YAML file with the same settings; flags win
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Take everything of xsteer off this node: links, maps, gates
    Detach {
        /// Folder of the pinned programs and maps
        #[arg(long, default_value = crate::agent::config::BPF_ROOT)]
        bpf_root: PathBuf,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Check manifests: what would be refused and how to mend it, conflicts, unresolved names
    Check {
        /// YAML files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Service paths of this node's table
    Sfcpath(Listing),
    /// What is selected on this node
    Sfcselect(Listing),
    /// Flows in state on this node
    Sfcflow(Listing),
    /// Packets steered and dropped on this node, by reason
    Stats(AdminArgs),
    /// Issues of the objects that this node sees
    Issues(AdminArgs),
}

#[derive(Debug, Args)]
struct AdminArgs {
    /// Folder of the agent's admin socket
    #[arg(long, default_value = crate::agent::config::RUN_DIR, global = true)]
    run_dir: PathBuf,
}

#[derive(Debug, Args)]
struct Listing {
    #[command(subcommand)]
    list: List,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Subcommand)]
enum List {
    /// List
    List {
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
        /// Rows of each worker at the most (flows)
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
}

/// Carries out the command line.
///
/// # Errors
/// Whatever went wrong, to be printed.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Agent { args, config } => {
            let config = AgentConfig::new(*args, config.as_deref())?;
            runtime()?.block_on(agent::run(config))?;
        }
        Command::Detach { bpf_root, admin } => {
            let report = runtime()?.block_on(async {
                crate::detach::detach(&bpf_root, &crate::net::Netlink::connect()?).await
            })?;
            client::remove_dead(&admin.run_dir).context("admin socket not removed")?;
            println!("{report}");
        }
        Command::Check { files } => {
            let report = crate::check::run(&files);
            print!("{report}");
            return Ok(if report.has_errors() {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            });
        }
        Command::Sfcpath(l) => match ask(&l.admin.run_dir, Request::Paths)? {
            Answer::Paths(rows) => print_rows(&rows, &l.list)?,
            other => bail!("unexpected answer: {other:?}"),
        },
        Command::Sfcselect(l) => match ask(&l.admin.run_dir, Request::Selectors)? {
            Answer::Selectors(rows) => print_rows(&rows, &l.list)?,
            other => bail!("unexpected answer: {other:?}"),
        },
        Command::Sfcflow(l) => {
            let List::List { limit, .. } = l.list;
            match ask(&l.admin.run_dir, Request::Flows(limit))? {
                Answer::Flows(rows) => print_rows(&rows, &l.list)?,
                other => bail!("unexpected answer: {other:?}"),
            }
        }
        Command::Stats(admin) => match ask(&admin.run_dir, Request::Counters)? {
            Answer::Counters(counters) => print!("{}", serde_yaml::to_string(&counters)?),
            other => bail!("unexpected answer: {other:?}"),
        },
        Command::Issues(admin) => match ask(&admin.run_dir, Request::Issues)? {
            Answer::Issues(lines) => lines.iter().for_each(|line| println!("{line}")),
            other => bail!("unexpected answer: {other:?}"),
        },
    }
    Ok(ExitCode::SUCCESS)
}

fn ask(run_dir: &Path, request: Request) -> anyhow::Result<Answer> {
    match client::ask(run_dir, request)? {
        Answer::Failed(why) => bail!("the agent could not answer: {why}"),
        answer => Ok(answer),
    }
}

fn print_rows<R: Row>(rows: &[R], list: &List) -> anyhow::Result<()> {
    let List::List { output, .. } = list;
    print!("{}", render(rows, *output)?);
    Ok(())
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}
