//! Asking all mounts of a home.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::listener::{self, ENDING, PLACE};
use super::message::{self, Ask, MountStatus, Request, Response, RevokeReport};
use crate::datakey::KeyArn;

/// How long a mount may take to say what it is.
const STATUS_LIMIT: Duration = Duration::from_secs(2);

/// What the mounts answered to a change of a key.
#[derive(Debug, Default)]
pub struct AnnounceReport {
    /// Mounts that have done what follows from it.
    pub confirmed: Vec<RevokeReport>,
    /// Mounts that have not, or not in time.
    pub failed: Vec<Failure>,
}

/// A mount that did not confirm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The mount point, or the socket where nothing names it.
    pub mount: String,
    /// Why, in words.
    pub why: String,
}

/// Tells every live mount that uses the home of `run_dir` that `key` changed, all at once, and waits for each until `limit`.
///
/// # Errors
/// When the directory of sockets cannot be read.
pub fn announce(run_dir: &Path, key: &KeyArn, limit: Duration) -> io::Result<AnnounceReport> {
    let mut report = AnnounceReport::default();
    let request = Request::key_changed(key);
    for (socket, answer) in ask_all(run_dir, &request, limit)? {
        let failed = |why: String| Failure { mount: name(&socket), why };
        match answer {
            Answer::Gone => (),
            Answer::Said(Response::Done(done)) => report.confirmed.push(done),
            Answer::Said(Response::Failed(why)) => report.failed.push(failed(why)),
            Answer::Said(Response::Status(_)) => {
                report.failed.push(failed("it gave another answer".to_owned()))
            }
            Answer::Broken(error) => report.failed.push(failed(match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    format!("it did not answer within {} s", limit.as_secs())
                }
                _ => error.to_string(),
            })),
        }
    }
    Ok(report)
}

/// The live mounts that use the home of `run_dir`.
///
/// # Errors
/// When the directory of sockets cannot be read.
pub fn mounts(run_dir: &Path) -> io::Result<Vec<MountStatus>> {
    let answers = ask_all(run_dir, &Request::new(Ask::Status), STATUS_LIMIT)?;
    let status = |(_, answer)| match answer {
        Answer::Said(Response::Status(status)) => Some(status),
        _ => None,
    };
    Ok(answers.into_iter().filter_map(status).collect())
}

/// What came of asking one mount.
enum Answer {
    /// Nobody listens any more.
    Gone,
    Said(Response),
    Broken(io::Error),
}

fn ask_all(run_dir: &Path, request: &Request, limit: Duration) -> io::Result<Vec<(PathBuf, Answer)>> {
    let mut sockets = Vec::new();
    for entry in fs::read_dir(run_dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == ENDING) {
            sockets.push(path);
        }
    }
    Ok(thread::scope(|scope| {
        let asked: Vec<_> = sockets
            .into_iter()
            .map(|path| {
                let thread = scope.spawn({
                    let path = path.clone();
                    move || ask(&path, request, limit)
                });
                (path, thread)
            })
            .collect();
        let lost = || Answer::Broken(io::Error::other("the asking thread panicked"));
        asked.into_iter().map(|(path, thread)| (path, thread.join().unwrap_or_else(|_| lost()))).collect()
    }))
}

fn ask(socket: &Path, request: &Request, limit: Duration) -> Answer {
    let stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        // The process ended without taking its socket along; or it took it just now.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            listener::remove(socket);
            return Answer::Gone;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Answer::Gone,
        Err(error) => return Answer::Broken(error),
    };
    let converse = || {
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        message::send(&stream, request)?;
        message::receive(&stream)
    };
    match converse() {
        Ok(response) => Answer::Said(response),
        // It ended while it was asked: nothing of it is left.
        Err(error) if is_hang_up(&error) && UnixStream::connect(socket).is_err() => Answer::Gone,
        Err(error) => Answer::Broken(error),
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// The mount point behind a socket, as the file beside it says; a mount that hangs says nothing itself.
fn name(socket: &Path) -> String {
    match fs::read(socket.with_extension(PLACE)) {
        Ok(place) if !place.is_empty() => String::from_utf8_lossy(&place).into_owned(),
        _ => socket.display().to_string(),
    }
}
