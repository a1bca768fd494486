//! A small HTTP/1.1 server and its client: enough for curl, and for transfers that are checked.
//!
//! `GET /bytes/N` answers with the first N bytes of the [pattern](super::pattern); `PUT /` with
//! the SHA-256 of the body in hexadecimal; any other path with the client's address.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::Endpoint;
use super::pattern::{Digest, PIECE_BYTES, Pattern};
use crate::testbed::{During as _, Failure, Result};

/// An HTTP server, stopped when dropped.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    peers: Arc<Mutex<Vec<SocketAddr>>>,
    thread: Option<JoinHandle<()>>,
}

/// A transfer as the client saw it.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// Bytes of the body.
    pub bytes: u64,
    /// SHA-256 of the body as the receiver of it computed.
    pub digest: Digest,
    /// From the request to the end of the answer.
    pub elapsed: Duration,
}

impl Transfer {
    /// Bits per second.
    #[must_use]
    pub fn bits_per_second(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.elapsed.as_secs_f64()
    }
}

impl HttpServer {
    /// Listens at an endpoint.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn start(at: &Endpoint, port: u16) -> Result<Self> {
        let address = SocketAddr::new(at.address(), port);
        let listener = at
            .namespace()
            .enter(|| TcpListener::bind(address).during(|| format!("listen on TCP {address}")))?;
        let (listener, peers) = (Arc::new(listener), Arc::new(Mutex::default()));
        let (accepting, seen) = (Arc::clone(&listener), Arc::clone(&peers));
        let thread = Some(thread::spawn(move || accept(&accepting, &seen)));
        Ok(Self {
            address,
            listener,
            peers,
            thread,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Clients of all connections so far, in order.
    #[must_use]
    pub fn peers(&self) -> Vec<SocketAddr> {
        self.peers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        // Wakes accept(2) with an error.
        let _ =
            nix::sys::socket::shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, peers: &Mutex<Vec<SocketAddr>>) {
    while let Ok((stream, peer)) = listener.accept() {
        peers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(peer);
        // A broken connection is the client's to report.
        thread::spawn(move || serve(&stream, peer));
    }
}

fn serve(stream: &TcpStream, peer: SocketAddr) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(PIECE_BYTES, stream);
    let (request, length) = read_head(&mut reader)?;
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let size = path
        .strip_prefix("/bytes/")
        .and_then(|size| size.parse().ok());
    match (method, size) {
        ("PUT", _) => {
            let (_, digest) = digest_of(reader.take(length))?;
            respond(stream, hexadecimal(&digest).as_bytes())?;
        }
        (_, Some(size)) => send_pattern(stream, size)?,
        _ => respond(stream, format!("{peer}\n").as_bytes())?,
    }
    stream.shutdown(Shutdown::Write)
}

fn send_pattern(mut stream: &TcpStream, bytes: u64) -> io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n"
    )?;
    let mut pattern = Pattern::new(bytes);
    while let Some(piece) = pattern.next_piece() {
        stream.write_all(piece)?;
    }
    Ok(())
}

fn respond(mut stream: &TcpStream, body: &[u8]) -> io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    )?;
    stream.write_all(body)
}

/// Reads a request or an answer up to its body: first line and Content-Length.
fn read_head(reader: &mut impl BufRead) -> io::Result<(String, u64)> {
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            return Ok((first, length));
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
}

fn digest_of(mut body: impl Read) -> io::Result<(u64, Digest)> {
    let (mut hash, mut piece, mut bytes) = (Sha256::new(), vec![0; PIECE_BYTES], 0);
    loop {
        match body.read(&mut piece)? {
            0 => return Ok((bytes, hash.finalize().into())),
            length => {
                hash.update(&piece[..length]);
                bytes += length as u64;
            }
        }
    }
}

fn hexadecimal(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_hexadecimal(text: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    if text.len() != 2 * digest.len() {
        return None;
    }
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(digest)
}

impl Endpoint {
    /// Downloads the first `bytes` of the pattern. `within` limits the connection, and each read.
    ///
    /// # Errors
    /// When the connection fails or ends early.
    pub fn download(&self, from: SocketAddr, bytes: u64, within: Duration) -> Result<Transfer> {
        let stream = self.connect(from, within)?;
        let what = || format!("download {bytes} bytes from {from} to {}", self.address());
        let begin = Instant::now();
        write!(
            &stream,
            "GET /bytes/{bytes} HTTP/1.1\r\nHost: {from}\r\n\r\n"
        )
        .during(what)?;
        let mut reader = BufReader::with_capacity(PIECE_BYTES, &stream);
        let (_, length) = read_head(&mut reader).during(what)?;
        let (received, digest) = digest_of(reader.take(length)).during(what)?;
        if received != bytes {
            return Err(Failure::Unexpected(format!(
                "{}: {received} received",
                what()
            )));
        }
        Ok(Transfer {
            bytes,
            digest,
            elapsed: begin.elapsed(),
        })
    }

    /// Uploads the first `bytes` of the pattern; the digest is the server's.
    ///
    /// # Errors
    /// When the connection fails or ends early, or the answer is no digest.
    pub fn upload(&self, to: SocketAddr, bytes: u64, within: Duration) -> Result<Transfer> {
        let mut stream = self.connect(to, within)?;
        let what = || format!("upload {bytes} bytes from {} to {to}", self.address());
        let begin = Instant::now();
        let head = format!("PUT / HTTP/1.1\r\nHost: {to}\r\nContent-Length: {bytes}\r\n\r\n");
        stream.write_all(head.as_bytes()).during(what)?;
        let mut pattern = Pattern::new(bytes);
        while let Some(piece) = pattern.next_piece() {
            stream.write_all(piece).during(what)?;
        }
        let mut reader = BufReader::new(&stream);
        read_head(&mut reader).during(what)?;
        let mut answer = String::new();
        reader.read_to_string(&mut answer).during(what)?;
        let digest = parse_hexadecimal(&answer)
            .ok_or_else(|| Failure::Unexpected(format!("{}: answered {answer:?}", what())))?;
        Ok(Transfer {
            bytes,
            digest,
            elapsed: begin.elapsed(),
        })
    }
}
