//! The header `Authorization` of Signature Version 4, and the scope that it names.
//!
//! ```text
//! AWS4-HMAC-SHA256 Credential=KEY/20261125/us-east-1/kms/aws4_request, SignedHeaders=host;x-amz-date, Signature=HEX
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;

use super::date::SignedAt;
use super::{incomplete, invalid};
use crate::crypto::hash;
use crate::kms::id::is_region;
use crate::serve::auth::Refusal;

/// The one algorithm.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// What ends a scope.
const TERMINATOR: &str = "aws4_request";

/// A header that has everything that a signature needs; what it says is not yet verified.
pub struct Authorization<'a> {
    algorithm: &'a str,
    /// `KEY/DATE/REGION/SERVICE/aws4_request`.
    pub credential: &'a str,
    signed_headers: &'a str,
    /// 64 hexadecimal digits, if it is one.
    pub signature: &'a str,
    /// Whether a part was said twice.
    is_repeated: bool,
}

impl<'a> Authorization<'a> {
    /// Reads the header of a request that has a date or not.
    ///
    /// # Errors
    /// `MissingAuthenticationTokenException` for another kind of authorization, `IncompleteSignatureException` with all that is lacking.
    pub fn parse(header: &'a str, is_dated: bool) -> Result<Self, Refusal> {
        let (algorithm, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if !algorithm.starts_with("AWS4-") {
            return Err(Refusal::missing());
        }
        let (mut credential, mut signature, mut signed_headers) = (None, None, None);
        let mut is_repeated = false;
        for part in rest.split([',', ' ']).filter(|part| !part.is_empty()) {
            let Some((name, value)) = part.split_once('=') else {
                return Err(incomplete(format!(
                    "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with Base64): \
                     '{}'.",
                    hashed(header)
                )));
            };
            let said = match name {
                "Credential" => &mut credential,
                "Signature" => &mut signature,
                "SignedHeaders" => &mut signed_headers,
                _ => continue,
            };
            is_repeated |= said.replace(value).is_some();
        }
        let given = |value: Option<&'a str>| value.filter(|value| !value.is_empty());
        // An empty list of headers is complete: what it lacks is found later.
        match (given(credential), given(signature), signed_headers, is_dated) {
            (Some(credential), Some(signature), Some(signed_headers), true) => {
                Ok(Self { algorithm, credential, signed_headers, signature, is_repeated })
            }
            (credential, signature, signed_headers, is_dated) => {
                let lacks = [
                    (credential.is_none(), "'Credential' parameter."),
                    (signature.is_none(), "'Signature' parameter."),
                    (signed_headers.is_none(), "'SignedHeaders' parameter."),
                    (!is_dated, "existence of either a 'X-Amz-Date' or a 'Date' header."),
                ];
                let lacks = lacks.iter().filter(|(is_lacking, _)| *is_lacking);
                let lacks: String =
                    lacks.map(|(_, what)| format!("Authorization header requires {what} ")).collect();
                let hash = hashed(header);
                Err(incomplete(format!(
                    "{lacks}(Hashed with SHA-256 and encoded with Base64) Authorization={hash}"
                )))
            }
        }
    }

    /// The names of the headers that are signed, as the client wrote them.
    pub fn signed_headers(&self) -> impl Iterator<Item = &'a str> {
        self.signed_headers.split(';').filter(|name| !name.is_empty())
    }

    /// Whether a header is signed.
    pub fn signs(&self, name: &str) -> bool {
        self.signed_headers().any(|signed| signed.eq_ignore_ascii_case(name))
    }

    /// Whether the algorithm is the one that there is.
    ///
    /// # Errors
    /// `IncompleteSignatureException`.
    pub fn check_algorithm(&self) -> Result<(), Refusal> {
        if self.algorithm == ALGORITHM {
            return Ok(());
        }
        let algorithm = self.algorithm;
        Err(incomplete(format!("Unsupported AWS 'algorithm': '{algorithm}' (only {ALGORITHM} for now). ")))
    }

    /// Whether every header that is signed was sent.
    ///
    /// # Errors
    /// `IncompleteSignatureException`.
    pub fn check_headers(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match self.signed_headers().find(|name| !headers.contains_key(*name)) {
            None => Ok(()),
            Some(name) => Err(incomplete(format!(
                "'{name}' is named as a SignedHeader, but it does not exist in the HTTP request."
            ))),
        }
    }

    /// Whether each part is said once, and the headers are named as they are signed: in lower case, in their order, and once.
    pub fn is_canonical(&self) -> bool {
        let names: Vec<_> = self.signed_headers.split(';').collect();
        let is_lower = |name: &&str| !name.is_empty() && !name.bytes().any(|byte| byte.is_ascii_uppercase());
        !self.is_repeated && names.iter().all(is_lower) && names.is_sorted_by(|one, next| one < next)
    }
}

/// A header as AWS repeats it: it may hold a secret that does not belong there.
fn hashed(header: &str) -> String {
    STANDARD.encode(hash::sha256(&[header.as_bytes()]))
}

/// What a signature is good for.
pub struct Scope<'a> {
    /// Who signs.
    pub access_key_id: &'a str,
    date: &'a str,
    /// The region that is asked.
    pub region: &'a str,
    service: &'a str,
    terminator: &'a str,
}

impl<'a> Scope<'a> {
    /// Reads the credential of an authorization.
    ///
    /// # Errors
    /// `IncompleteSignatureException` where it has not five parts.
    pub fn parse(credential: &'a str) -> Result<Self, Refusal> {
        let parts: Vec<_> = credential.split('/').collect();
        let [access_key_id, date, region, service, terminator] = parts[..] else {
            return Err(incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{credential}'"
            )));
        };
        Ok(Self { access_key_id, date, region, service, terminator })
    }

    /// Whether it is one for this service, signed at that time.
    ///
    /// # Errors
    /// `InvalidSignatureException` with all that is wrong. Each sentence ends with a space, as AWS's do.
    pub fn check(&self, service: &str, at: &SignedAt) -> Result<(), Refusal> {
        let Self { date, terminator, .. } = self;
        let day = at.day();
        let wrong = [
            (!is_region(self.region), "Credential should be scoped to a valid region. ".to_owned()),
            (
                self.service != service,
                format!("Credential should be scoped to correct service: '{service}'. "),
            ),
            (
                *terminator != TERMINATOR,
                format!(
                    "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{terminator}'. "
                ),
            ),
            (
                *date != day,
                format!(
                    "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{date}' != '{day}', from \
                     '{at}'. "
                ),
            ),
        ];
        let wrong: String =
            wrong.into_iter().filter(|(is_wrong, _)| *is_wrong).map(|(_, what)| what).collect();
        if wrong.is_empty() { Ok(()) } else { Err(invalid(wrong)) }
    }
}
