//! Where the server listens: TCP addresses and Unix sockets, with TLS or without.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::ServeError;
use super::limits::BACKLOG;

/// A byte stream to a client.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A TCP address; port 0 for any that is free.
    Tcp(SocketAddr),
    /// A Unix socket, for the user of this process alone.
    Unix(PathBuf),
}

impl Address {
    /// Whether only processes of this machine reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// At an IP address.
    Ip(IpAddr),
    /// On this machine, as the kernel says at the other end of a Unix socket.
    Local {
        /// Its user.
        uid: u32,
        /// Its process; 0 where the kernel does not say.
        pid: u32,
    },
}

impl Peer {
    /// Whether it is a process of this machine.
    pub fn is_local(self) -> bool {
        match self {
            Self::Ip(ip) => ip.is_loopback(),
            Self::Local { .. } => true,
        }
    }
}

/// A socket that is listened on.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket, removed when this is dropped.
    Unix(UnixListener, SocketFile),
}

/// A connection as it was taken.
#[derive(Debug)]
pub enum Accepted {
    /// TCP.
    Tcp(tokio::net::TcpStream),
    /// A Unix socket.
    Unix(tokio::net::UnixStream),
}

impl Listener {
    /// Listens on `address`.
    ///
    /// # Errors
    /// [`ServeError::Listen`], [`ServeError::NotASocket`].
    pub fn bind(address: &Address) -> Result<Self, ServeError> {
        let failed = |error| ServeError::Listen { address: address.clone(), error };
        match address {
            Address::Tcp(address) => bind_tcp(*address).map(Self::Tcp).map_err(failed),
            Address::Unix(path) => {
                clear(path).map_err(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => ServeError::NotASocket(path.clone()),
                    _ => failed(error),
                })?;
                let listener = bind_unix(path).map_err(failed)?;
                Ok(Self::Unix(listener, SocketFile(path.clone())))
            }
        }
    }

    /// Where it listens, with the port that was found.
    ///
    /// # Errors
    /// Where the kernel does not say.
    pub fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Self::Unix(_, file) => Ok(Address::Unix(file.0.clone())),
        }
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// Those of accept(2); most of them concern the one connection.
    pub async fn accept(&self) -> io::Result<(Accepted, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // An answer is one write, and the client waits for it.
                let _ = stream.set_nodelay(true);
                Ok((Accepted::Tcp(stream), Peer::Ip(peer.ip().to_canonical())))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let who = stream.peer_cred()?;
                let pid = who.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default();
                Ok((Accepted::Unix(stream), Peer::Local { uid: who.uid(), pid }))
            }
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of the server before this one that the kernel still remembers are in nobody's way.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Nobody but this user may connect, from the first instant on: the mask is the process's, and this is done before it makes other files.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let mask = rustix::process::umask(Mode::RWXG | Mode::RWXO | Mode::XUSR);
    let listener = UnixListener::bind(path);
    rustix::process::umask(mask);
    listener
}

/// Removes a socket that nobody listens on any more.
fn clear(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(there) => there.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !kind.is_socket() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    match StdUnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => Err(error),
    }
}

/// The file of a Unix socket.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            log::warn!("{} stays: {error}", self.0.display());
        }
    }
}
