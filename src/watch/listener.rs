//! A mount's end of its control socket.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;

use super::message::{self, Ask, Request, Response, VERSION};
use super::{Peer, Revoke};
use crate::crypto::rng;
use crate::datakey::KeyArn;

/// The ending of a socket's name.
pub const ENDING: &str = "sock";
/// The ending of the file beside it that names the mount point, for a mount that does not answer.
pub const PLACE: &str = "mount";
/// The ending of a socket's name before it listens.
const WAITING: &str = "new";
/// How long a connection may take to say what it wants.
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// Connections that are answered at a time; more are refused.
const CONNECTIONS: usize = 32;

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    socket: Arc<UnixListener>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Makes a socket in `run_dir` and answers on it through `handler`.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn bind(run_dir: &Path, handler: Arc<dyn Revoke>) -> io::Result<Self> {
        let name = format!("{}-{:08x}.{ENDING}", std::process::id(), u32::from_be_bytes(rng::bytes()));
        let path = run_dir.join(name);
        let socket = listen(&path, handler.status().mountpoint.as_os_str()).inspect_err(|_| remove(&path))?;
        let socket = Arc::new(socket);
        let ended = Arc::new(AtomicBool::new(false));
        let (listening, until) = (socket.clone(), ended.clone());
        let thread = thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || accept(&listening, &handler, &until))?;
        Ok(Self { path, socket, ended, thread: Some(thread) })
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread, also where somebody took the socket's name away; then the name goes, and who finds it no more knows
        // that the mount has ended.
        let _ = rustix::net::shutdown(&*self.socket, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        remove(&self.path);
    }
}

/// Makes a socket that listens, and the file beside it. It gets its name last: between bind(2) and listen(2) it refuses
/// connections as a dead mount's does, and who found it then would remove it.
fn listen(path: &Path, place: &OsStr) -> io::Result<UnixListener> {
    let mut beside =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path.with_extension(PLACE))?;
    beside.write_all(place.as_bytes())?;
    let waiting = path.with_extension(WAITING);
    let socket = UnixListener::bind(&waiting)?;
    let named = fs::set_permissions(&waiting, fs::Permissions::from_mode(0o600));
    named.and_then(|()| fs::rename(&waiting, path)).inspect_err(|_| {
        let _ = fs::remove_file(&waiting);
    })?;
    Ok(socket)
}

/// Takes a socket away, and what lies beside it.
pub fn remove(socket: &Path) {
    let _ = fs::remove_file(socket);
    let _ = fs::remove_file(socket.with_extension(PLACE));
}

fn accept(socket: &UnixListener, handler: &Arc<dyn Revoke>, ended: &AtomicBool) {
    let busy = Arc::new(AtomicUsize::new(0));
    for stream in socket.incoming() {
        if ended.load(Ordering::SeqCst) {
            return;
        }
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                log::warn!("the control socket does not accept: {error}");
                thread::sleep(Duration::from_millis(50));
                continue;
            }
        };
        if busy.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS {
            busy.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let (handler, busy_here) = (handler.clone(), busy.clone());
        let spawned = thread::Builder::new().name("control-answer".to_owned()).spawn(move || {
            if let Err(error) = answer(&stream, &*handler) {
                log::debug!("a control connection ended: {error}");
            }
            busy_here.fetch_sub(1, Ordering::SeqCst);
        });
        if spawned.is_err() {
            busy.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn answer(stream: &UnixStream, handler: &dyn Revoke) -> io::Result<()> {
    let credentials = socket_peercred(stream)?;
    let peer = credentials.uid;
    if !peer.is_root() && peer != rustix::process::geteuid() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    stream.set_read_timeout(Some(ASK_LIMIT))?;
    stream.set_write_timeout(Some(ASK_LIMIT))?;
    let request: Request = message::receive(stream)?;
    let response = match request {
        Request { version, .. } if version != VERSION => {
            Response::Failed(format!("control protocol {version}, expected {VERSION}"))
        }
        Request { ask: Ask::Status, .. } => Response::Status(handler.status()),
        Request { ask: Ask::KeyChanged(key), .. } => match handler.key_changed(&KeyArn::new(key)) {
            Ok(report) => Response::Done(report),
            Err(why) => Response::Failed(why),
        },
        Request { ask: Ask::File(ask), .. } => {
            let who = Peer { uid: peer.as_raw(), pid: credentials.pid.as_raw_nonzero().get().unsigned_abs() };
            match handler.change_file(&ask, who) {
                Ok(moved) => Response::Moved(moved),
                Err(refusal) => Response::Refused(refusal),
            }
        }
    };
    message::send(stream, &response)
}
