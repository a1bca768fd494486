//! Asks an agent over its admin socket.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Answer, Request, SOCKET};

/// How long an agent may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No agent listens there.
    #[error("no agent answers at {path}: is it running on this node, and is --run-dir its own?")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("the agent at {path} broke off")]
    Broken {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The agent speaks another version.
    #[error("the agent at {path} answered what this version does not understand")]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Asks the agent whose run folder is `run_dir`.
///
/// # Errors
/// Where no agent answers.
pub fn ask(run_dir: &Path, request: Request) -> Result<Answer, ClientError> {
    let path = run_dir.join(SOCKET);
    let mut stream = UnixStream::connect(&path).map_err(|source| ClientError::Connect {
        path: path.clone(),
        source,
    })?;
    let line = exchange(&mut stream, request).map_err(|source| ClientError::Broken {
        path: path.clone(),
        source,
    })?;
    serde_json::from_str(&line).map_err(|source| ClientError::Foreign { path, source })
}

/// Removes the socket that a killed agent left in `run_dir`. One that an agent listens on stays.
///
/// # Errors
/// Where it can't be removed.
pub fn remove_dead(run_dir: &Path) -> std::io::Result<()> {
    let path = run_dir.join(SOCKET);
    match UnixStream::connect(&path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Ok(()),
    }
}

fn exchange(stream: &mut UnixStream, request: Request) -> std::io::Result<String> {
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut line = serde_json::to_string(&request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer)
}
