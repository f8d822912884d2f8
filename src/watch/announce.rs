//! Asking all mounts of a home.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::listener::{self, ENDING, PLACE};
use super::message::{
    self, Ask, FileAsk, FileMoved, FileRefusal, MountStatus, Reason, Request, Response, RevokeReport,
};
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
            Answer::Said(Response::Status(_) | Response::Moved(_) | Response::Refused(_)) => {
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
    Ok(sockets(run_dir)?.into_iter().map(|mount| mount.status).collect())
}

/// The live mounts that use the home of `run_dir`, each to be asked for more.
///
/// # Errors
/// When the directory of sockets cannot be read.
pub fn sockets(run_dir: &Path) -> io::Result<Vec<Mount>> {
    let answers = ask_all(run_dir, &Request::new(Ask::Status), STATUS_LIMIT)?;
    let mount = |(socket, answer)| match answer {
        Answer::Said(Response::Status(status)) => Some(Mount { socket, status }),
        _ => None,
    };
    Ok(answers.into_iter().filter_map(mount).collect())
}

/// A live mount.
#[derive(Debug, Clone)]
pub struct Mount {
    socket: PathBuf,
    /// What it said it is.
    pub status: MountStatus,
}

impl Mount {
    /// Has the mount change a file; waits as long as it takes.
    ///
    /// # Errors
    /// Why it is not changed. A mount that ended meanwhile has left the file as it was, or as it was to be.
    pub fn change_file(&self, ask: FileAsk) -> Result<Option<FileMoved>, FileRefusal> {
        let failed = |why: String| FileRefusal { reason: Reason::Failed, why };
        match ask_one(&self.socket, &Request::new(Ask::File(ask)), None) {
            Answer::Said(Response::Moved(moved)) => Ok(moved),
            Answer::Said(Response::Refused(refusal)) => Err(refusal),
            Answer::Said(Response::Failed(why)) => Err(failed(why)),
            Answer::Said(Response::Done(_) | Response::Status(_)) => {
                Err(failed("the mount gave another answer".to_owned()))
            }
            Answer::Gone => Err(failed("the mount has ended meanwhile".to_owned())),
            Answer::Broken(error) => Err(failed(format!("the mount does not answer: {error}"))),
        }
    }
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
                    move || ask_one(&path, request, Some(limit))
                });
                (path, thread)
            })
            .collect();
        let lost = || Answer::Broken(io::Error::other("the asking thread panicked"));
        asked.into_iter().map(|(path, thread)| (path, thread.join().unwrap_or_else(|_| lost()))).collect()
    }))
}

fn ask_one(socket: &Path, request: &Request, limit: Option<Duration>) -> Answer {
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
        stream.set_read_timeout(limit)?;
        stream.set_write_timeout(limit)?;
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
