//! Listens on the admin socket and brings requests to the agent's loop.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::{Answer, Request, SOCKET};

/// Longest request, bytes.
const LONGEST_REQUEST: u64 = 4096;

/// A request and where its answer goes.
pub type Question = (Request, oneshot::Sender<Answer>);

/// The socket can't be made.
#[derive(Debug, thiserror::Error)]
#[error("admin socket {path} not made: is the folder writable?")]
pub struct ListenError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// Makes the socket (root only) and answers on it until the runtime ends.
///
/// # Errors
/// Where the socket can't be made.
pub fn listen(run_dir: &Path) -> Result<mpsc::Receiver<Question>, ListenError> {
    let path = run_dir.join(SOCKET);
    let listener = bind(run_dir, &path).map_err(|source| ListenError { path, source })?;
    let (questions, asked) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let questions = questions.clone();
            tokio::spawn(async move {
                if let Err(error) = converse(stream, questions).await {
                    tracing::debug!(%error, "admin connection ended");
                }
            });
        }
    });
    Ok(asked)
}

fn bind(run_dir: &Path, path: &Path) -> std::io::Result<UnixListener> {
    std::fs::create_dir_all(run_dir)?;
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn converse(
    mut stream: UnixStream,
    questions: mpsc::Sender<Question>,
) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(tokio::io::AsyncReadExt::take(reader, LONGEST_REQUEST)).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match serde_json::from_str(&line) {
            Ok(request) => answer(request, &questions).await,
            Err(error) => Answer::Failed(format!("request not understood: {error}")),
        };
        let mut text = serde_json::to_string(&answer)?;
        text.push('\n');
        writer.write_all(text.as_bytes()).await?;
    }
    Ok(())
}

async fn answer(request: Request, questions: &mpsc::Sender<Question>) -> Answer {
    let (reply, answer) = oneshot::channel();
    if questions.send((request, reply)).await.is_err() {
        return Answer::Failed("the agent is ending".into());
    }
    answer
        .await
        .unwrap_or_else(|_| Answer::Failed("the agent is ending".into()))
}
