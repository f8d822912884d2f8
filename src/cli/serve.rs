//! `kmsfs serve`: the home's keys for AWS's own clients, over HTTP.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, Rlimit};
use zeroize::Zeroizing;

use super::error::{CliError, Result};
use super::exit::{self, Code};
use super::shell::word;
use super::{complain, done, home, print};
use crate::kms::{AwsError, Cause, Kms, KmsError};
use crate::serve::limits::Limits;
use crate::serve::{self, Address, Backend, Credential, Options, ServeError, TlsFiles, Trust};
use crate::store::Home;
use crate::watch;

/// The port where nothing is said.
const PORT: u16 = 4599;
/// Descriptors beside those of connections: the store, the log, sockets of mounts.
const SPARE_DESCRIPTORS: usize = 128;

/// Serve the home's keys over HTTP, to boto3, the AWS CLI and any other client of AWS KMS. Stays in the foreground until SIGTERM or SIGINT;
/// requests in work are answered first. SIGHUP reads certificate and key again.
#[derive(Debug, Args)]
#[command(after_help = "\
Requests are signed with credentials of the home, and what is not signed is refused; /healthz alone asks for none, and /metrics, for \
    clients on this machine. docs/SERVE.md tells how to set up clients, what is measured, and what to look out for.")]
pub struct Serve {
    /// An IP address and a port; port 0 finds a free one. May be given several times [default: 127.0.0.1:4599, unless --unix is given]
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    listen: Vec<SocketAddr>,
    /// A Unix socket to make, for this user alone
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// The certificate chain, in PEM: what is listened on is then HTTPS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Trust everybody who can connect, as the home's owner; only on addresses of this machine
    #[arg(long)]
    no_auth: bool,
    /// Connections at a time; further ones wait
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,
    /// Seconds that a client may take for the head of a request, for its body, or for taking the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Seconds that a connection may be idle
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    idle_timeout: u64,
    /// Let clients of other machines read /metrics
    #[arg(long)]
    metrics_for_all: bool,
}

impl Serve {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let options = self.options()?;
        let home = home::open(given)?;
        let warning = self.warning(&home);
        if let Err(error) = home.expect_many_uses() {
            log::warn!("uses of keys are not made cheaper: {error}");
        }
        let backend = Arc::new(Served { home });
        serve::serve(backend, &options, |addresses| {
            for address in addresses {
                if let Err(error) = print(&format!("kmsfs: listening on {address}\n")) {
                    log::warn!("nobody waits for the server: {error}");
                }
            }
            if let Some(warning) = &warning {
                complain(warning);
            }
        })?;
        done()
    }

    /// What whoever starts it is to know.
    fn warning(&self, home: &Home) -> Option<String> {
        if self.no_auth {
            return Some(
                "kmsfs: warning: whoever can connect uses and changes all keys of the home".to_owned(),
            );
        }
        let is_without = home.keyring().is_ok_and(|ring| ring.credentials().next().is_none());
        is_without.then(|| {
            "kmsfs: warning: there are no credentials, and without one no request is signed
\
             hint: kmsfs credentials create --principal root"
                .to_owned()
        })
    }

    fn options(&self) -> Result<Options> {
        let mut addresses: Vec<_> = self.listen.iter().copied().map(Address::Tcp).collect();
        addresses.extend(self.unix.clone().map(Address::Unix));
        if addresses.is_empty() {
            addresses.push(Address::Tcp((Ipv4Addr::LOCALHOST, PORT).into()));
        }
        let trust = if self.no_auth { Trust::Everybody } else { Trust::Signatures };
        if let Some(open) = addresses.iter().find(|address| self.no_auth && !address.is_local()) {
            let what = format!("--no-auth would give the keys to whoever can reach {open}");
            return Err(CliError::new(exit::USAGE, what).hint(
                "leave --no-auth out and make credentials with kmsfs credentials create, or listen on 127.0.0.1 or a Unix socket",
            ));
        }
        let tls = self.tls_cert.clone().zip(self.tls_key.clone());
        let (client, idle) = (Duration::from_secs(self.timeout), Duration::from_secs(self.idle_timeout));
        Ok(Options {
            addresses,
            trust,
            tls: tls.map(|(certificates, key)| TlsFiles { certificates, key }),
            limits: Limits {
                connections: connections(self.max_connections),
                client,
                idle,
                ..Limits::default()
            },
            metrics_for_all: self.metrics_for_all,
        })
    }
}

/// Reads an address; `localhost` is one as well.
fn address(text: &str) -> std::result::Result<SocketAddr, String> {
    let local = text.strip_prefix("localhost:").map(|port| format!("{}:{port}", Ipv4Addr::LOCALHOST));
    let parsed = local.as_deref().unwrap_or(text).parse();
    parsed.map_err(|_| "an IP address and a port are needed, such as 127.0.0.1:4599 or [::1]:4599".to_owned())
}

/// As many connections as were asked for, or as there are descriptors for.
fn connections(wanted: u32) -> usize {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        log::warn!("the limit of open files stays at {:?}: {error}", limit.current);
    }
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let Some(descriptors) = rustix::process::getrlimit(Resource::Nofile).current else { return wanted };
    let room = usize::try_from(descriptors).unwrap_or(usize::MAX).saturating_sub(SPARE_DESCRIPTORS).max(1);
    if wanted > room {
        log::warn!("there are descriptors for {room} connections, and not for {wanted}");
    }
    wanted.min(room)
}

/// The home, as a server asks it.
struct Served {
    home: Home,
}

impl Backend for Served {
    fn account(&self) -> &str {
        self.home.account()
    }

    fn region(&self) -> &str {
        self.home.region()
    }

    fn kms(&self, region: &str) -> std::result::Result<Arc<Kms>, KmsError> {
        self.home.kms_in(region).map_err(|error| KmsError::new(AwsError::Validation, error.to_string()))
    }

    fn regions(&self) -> std::result::Result<Vec<(String, Arc<Kms>)>, KmsError> {
        let names = self.home.regions().map_err(|error| KmsError::failed(Cause::Store, error.to_string()))?;
        names.into_iter().map(|name| Ok((name.clone(), self.kms(&name)?))).collect()
    }

    fn credential(&self, access_key_id: &str) -> std::result::Result<Option<Credential>, KmsError> {
        let known = self.home.credential(access_key_id)?;
        Ok(known.map(|known| {
            let secret = Zeroizing::new(known.secret.reveal().to_owned());
            Credential { principal: known.principal, secret }
        }))
    }

    fn mounts(&self) -> io::Result<usize> {
        Ok(watch::mounts(self.home.run_dir())?.len())
    }
}

impl From<ServeError> for CliError {
    fn from(error: ServeError) -> Self {
        let what = error.to_string();
        match error {
            ServeError::Listen { address: Address::Tcp(address), error } => {
                Self::new(exit::LISTEN, what).hint(listening(address, &error))
            }
            ServeError::Listen { error, .. } if error.kind() == io::ErrorKind::AddrInUse => {
                Self::new(exit::LISTEN, what).hint("end the server that listens there, or name another path with --unix")
            }
            ServeError::Listen { address: Address::Unix(path), error } => Self::of_system(exit::LISTEN, &path, &error),
            ServeError::NotASocket(path) => Self::new(exit::LISTEN, what)
                .hint(format!("ls -l {} shows what it is: remove it, or name another path", word(&path))),
            ServeError::TlsFile(path, error) => Self::of_system(exit::USAGE, &path, &error),
            ServeError::Tls { .. } | ServeError::TlsPair(_) => Self::new(exit::USAGE, what).hint(
                "--tls-cert takes a certificate chain and --tls-key its private key, both in PEM and not encrypted",
            ),
            ServeError::System(_) => Self::new(exit::FAILURE, what),
        }
    }
}

/// What helps where an address cannot be listened on.
fn listening(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let port = address.port();
            format!(
                "ss -ltnp sport = :{port} shows who listens there; --listen 127.0.0.1:0 finds a free port"
            )
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 are for root: name another one".to_owned(),
        io::ErrorKind::AddrNotAvailable => "ip address shows the addresses of this machine".to_owned(),
        _ => "name another address with --listen".to_owned(),
    }
}
