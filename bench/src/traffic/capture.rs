//! A capture on one interface: tcpdump writes, tshark reads.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::testbed::{During as _, Failure, Namespace, Result, run};

/// A running capture. Dropped without [`finish`](Self::finish), it is killed.
#[derive(Debug)]
pub struct Capture {
    child: Child,
    file: PathBuf,
}

/// A finished capture.
#[derive(Clone, Debug)]
pub struct Captured {
    file: PathBuf,
}

impl Capture {
    /// Starts to capture what the filter takes, into `folder`; returns when tcpdump listens.
    ///
    /// # Errors
    /// When tcpdump can't be started or refuses the interface or filter.
    pub fn start(
        namespace: &Namespace,
        interface: &str,
        filter: &str,
        folder: &Path,
    ) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let file = folder.join(format!("{}-{interface}-{number}.pcap", namespace.name()));
        let mut command = namespace.command("tcpdump");
        // As root, or it could not write into our folder; unbuffered, so that nothing is cut off.
        command.args([
            "-Z",
            "root",
            "-U",
            "--immediate-mode",
            "-n",
            "-B",
            "16384",
            "-i",
            interface,
        ]);
        command.arg("-w").arg(&file).arg(filter);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let child = command
            .spawn()
            .during(|| format!("start tcpdump on {interface}"))?;
        let mut capture = Self { child, file };
        capture.wait_for_start()?;
        Ok(capture)
    }

    fn wait_for_start(&mut self) -> Result<()> {
        let Some(stderr) = self.child.stderr.take() else {
            return Err(Failure::Unexpected("tcpdump has no stderr".to_owned()));
        };
        let mut said = String::new();
        for line in BufReader::new(stderr).lines() {
            let line = line.during(|| "read tcpdump's messages".to_owned())?;
            if line.contains("listening on") {
                return Ok(());
            }
            said.push_str(&line);
        }
        Err(Failure::Command {
            command: "tcpdump".to_owned(),
            stderr: said,
        })
    }

    /// What has been written so far; reading it fails while the last packet is half written.
    #[must_use]
    pub fn so_far(&self) -> Captured {
        Captured {
            file: self.file.clone(),
        }
    }

    /// Ends the capture.
    ///
    /// # Errors
    /// When tcpdump is gone already.
    pub fn finish(mut self) -> Result<Captured> {
        let pid = i32::try_from(self.child.id()).map(Pid::from_raw);
        let pid = pid.map_err(|_| Failure::Unexpected("process id too large".to_owned()))?;
        kill(pid, Signal::SIGINT).during(|| "stop tcpdump".to_owned())?;
        self.child.wait().during(|| "wait for tcpdump".to_owned())?;
        Ok(Captured {
            file: self.file.clone(),
        })
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Both fail only when it has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Captured {
    /// The pcap file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The packets that a tshark display filter takes: of each the fields asked for, as tshark
    /// prints them. UDP 7081 is decoded as Geneve.
    ///
    /// # Errors
    /// What tshark says about filter or fields.
    pub fn fields(&self, filter: &str, fields: &[&str]) -> Result<Vec<Vec<String>>> {
        let mut command = Command::new("tshark");
        command
            .arg("-r")
            .arg(&self.file)
            .args(["-d", "udp.port==7081,geneve", "-n"]);
        command.args(["-Y", filter, "-T", "fields"]);
        for field in fields {
            command.args(["-e", field]);
        }
        let printed = run(&mut command)?;
        let rows = printed
            .lines()
            .map(|line| line.split('\t').map(str::to_owned).collect());
        Ok(rows.collect())
    }

    /// Length of the longest frame in bytes, link header included; 0 without frames. One above
    /// the MTU is a super-packet that segmentation offload has not cut.
    ///
    /// # Errors
    /// When tshark can't read the file.
    pub fn longest(&self) -> Result<usize> {
        let rows = self.fields("frame", &["frame.len"])?;
        let lengths = rows.iter().filter_map(|row| row.first()?.parse().ok());
        Ok(lengths.max().unwrap_or(0))
    }

    /// Whole frames as bytes, in order, that a display filter takes.
    ///
    /// # Errors
    /// When tshark can't read the file.
    pub fn frames(&self, filter: &str) -> Result<Vec<Vec<u8>>> {
        let mut command = Command::new("tshark");
        command
            .arg("-r")
            .arg(&self.file)
            .args(["-n", "-Y", filter, "-T", "json", "-x"]);
        let printed = run(&mut command)?;
        let packets: Vec<serde_json::Value> = serde_json::from_str(&printed)
            .map_err(|error| Failure::Unexpected(format!("tshark's JSON: {error}")))?;
        packets.iter().map(raw_frame).collect()
    }
}

/// Reads `{"_source": {"layers": {"frame_raw": ["hex", …]}}}`.
fn raw_frame(packet: &serde_json::Value) -> Result<Vec<u8>> {
    let text = packet
        .pointer("/_source/layers/frame_raw/0")
        .and_then(serde_json::Value::as_str);
    let bytes = text.and_then(|text| {
        let digits = text
            .as_bytes()
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).ok());
        digits
            .map(|pair| u8::from_str_radix(pair?, 16).ok())
            .collect()
    });
    bytes.ok_or_else(|| Failure::Unexpected("tshark printed no raw frame".to_owned()))
}
