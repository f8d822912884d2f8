//! TLS: a certificate chain and its key, from PEM files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::{Error as TlsError, ProtocolVersion, ServerConfig, ServerConnection, version};

use super::ServeError;

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those that lead from it to one that clients know.
    pub certificates: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: PathBuf,
}

/// Reads the files. TLS 1.2 and 1.3 are spoken.
///
/// # Errors
/// [`ServeError::Tls`], [`ServeError::TlsPair`].
pub fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, ServeError> {
    let certificates = CertificateDer::pem_file_iter(&files.certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(&files.certificates, &error, "certificate"))?;
    if certificates.is_empty() {
        return Err(unreadable(&files.certificates, &pem::Error::NoItemsFound, "certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unreadable(&files.key, &error, "private key"))?;
    let pair = |error| match error {
        TlsError::InconsistentKeys(_) => ServeError::TlsPair("they do not belong together".to_owned()),
        error => ServeError::TlsPair(error.to_string()),
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn unreadable(file: &Path, error: &pem::Error, what: &str) -> ServeError {
    let file = file.to_owned();
    match error {
        pem::Error::Io(error) => {
            let error =
                error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
            ServeError::TlsFile(file, error)
        }
        pem::Error::NoItemsFound => {
            ServeError::Tls { file, why: format!("there is no {what} in it, or it is encrypted") }
        }
        // What is wrong of it is told in bytes of the file, which may be those of a key.
        _ => ServeError::Tls { file, why: "it is no PEM, or was cut off".to_owned() },
    }
}

/// The version of TLS and the cipher suite of a connection, as CloudTrail names them.
pub fn details(connection: &ServerConnection) -> Option<(&'static str, &'static str)> {
    let version = match connection.protocol_version()? {
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        _ => return None,
    };
    // The names of TLS 1.3 are not as RFC 8446 spells them.
    let suite = match connection.negotiated_cipher_suite()?.suite().as_str()? {
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        other => other,
    };
    Some((version, suite))
}
