//! Builds the kernel programs of `ebpf/` into `OUT_DIR/xsteer-ebpf`, for the loader to include.
//!
//! Three ways, in this order: a ready object named by `XSTEER_BPF_OBJECT`; a compiler that ships
//! `core` for the BPF target (Debian's `rustc-web` with `libstd-rust-web-dev-bpf`); a nightly
//! toolchain with `rust-src`. The two builds need `bpf-linker`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const TARGET: &str = "bpfel-unknown-none";
const OBJECT: &str = "xsteer-ebpf";
const DEBIAN_BIN: &str = "/usr/bin";
/// What the outer cargo sets for its own compiler and would mislead the inner one.
const INHERITED: [&str; 9] = [
    "CARGO",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

fn main() -> ExitCode {
    for path in [
        "ebpf/src",
        "ebpf/Cargo.toml",
        "ebpf/Cargo.lock",
        "abi/src",
        "abi/Cargo.toml",
    ] {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=XSTEER_BPF_OBJECT");
    match object() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("The kernel programs (xdp/ebpf) can't be built: {reason}");
            eprintln!("Run `make deps`, or name a ready object with XSTEER_BPF_OBJECT=FILE.");
            ExitCode::FAILURE
        }
    }
}

/// Puts the object where the loader includes it from.
fn object() -> Result<(), String> {
    let out = PathBuf::from(variable("OUT_DIR")?);
    let built = match env::var_os("XSTEER_BPF_OBJECT") {
        Some(ready) => {
            println!("cargo::rerun-if-changed={}", Path::new(&ready).display());
            PathBuf::from(ready)
        }
        None => build(&out.join("ebpf"))?,
    };
    fs::copy(&built, out.join(OBJECT))
        .map(drop)
        .map_err(|e| format!("copying {}: {e}", built.display()))
}

/// Runs the inner cargo; answers where its object is.
fn build(target_dir: &Path) -> Result<PathBuf, String> {
    let linker = find("bpf-linker").ok_or("bpf-linker is not installed")?;
    let manifest = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("ebpf/Cargo.toml");
    let mut cargo = debian().or_else(nightly).ok_or(
        "no compiler for BPF: neither Debian's libstd-rust-web-dev-bpf nor nightly with rust-src",
    )?;
    cargo
        .args(["build", "--release", "--locked", "--target", TARGET])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(target_dir)
        .env(
            "RUSTFLAGS",
            format!(
                "-C linker={} -C link-arg=--btf -C debuginfo=2",
                linker.display()
            ),
        );
    let status = cargo
        .status()
        .map_err(|e| format!("starting {cargo:?}: {e}"))?;
    if !status.success() {
        return Err(format!("{cargo:?} ended with {status}"));
    }
    Ok(target_dir.join(TARGET).join("release").join(OBJECT))
}

/// Debian's cargo, if its compiler has `core` for BPF. It is a stable compiler whose BPF target
/// is still tier 3, hence `RUSTC_BOOTSTRAP`.
fn debian() -> Option<Command> {
    let rustc = Path::new(DEBIAN_BIN).join("rustc");
    let sysroot = output(command(&rustc).args(["--print", "sysroot"]))?;
    if !Path::new(&sysroot)
        .join("lib/rustlib")
        .join(TARGET)
        .is_dir()
    {
        return None;
    }
    let mut cargo = command(&Path::new(DEBIAN_BIN).join("cargo"));
    cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
    Some(cargo)
}

/// rustup's nightly, if it has the sources of `core`.
fn nightly() -> Option<Command> {
    let sysroot = output(
        command(Path::new("rustup")).args(["run", "nightly", "rustc", "--print", "sysroot"]),
    )?;
    if !Path::new(&sysroot)
        .join("lib/rustlib/src/rust/library/core")
        .is_dir()
    {
        return None;
    }
    let mut cargo = command(Path::new("rustup"));
    cargo
        .args(["run", "nightly", "cargo"])
        .env("CARGO_UNSTABLE_BUILD_STD", "core");
    Some(cargo)
}

/// A command without the outer cargo's environment.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for name in INHERITED {
        command.env_remove(name);
    }
    command
}

/// What a command prints, if it can be run and succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|o| o.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A program in `PATH` or among those that cargo installs.
fn find(program: &str) -> Option<PathBuf> {
    let home = env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or(home);
    env::split_paths(&env::var_os("PATH")?)
        .chain(home.map(|home| home.join("bin")))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|e| format!("{name}: {e}"))
}
