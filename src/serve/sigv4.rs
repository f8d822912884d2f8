//! Signature Version 4: who signed a request, and for which region.
//!
//! [`verify`] is a pure function of the request, the time and the credential that it was signed with. It computes the signature anew, with
//! AWS's own crate, over exactly the headers that the client says it signed, and compares the two in constant time. What it refuses it
//! answers in AWS's words and order (*Signature Version 4 for API requests*, IAM User Guide; the texts as clients of AWS report them), and
//! never shows what it computed: no canonical request, no string to sign, no signature.
//!
//! The order: is there a signature at all; is it complete; its date; `host` is signed; the algorithm; the scope; the access key; the
//! signature. An access key that is not known costs the work of one that is.
//!
//! Stricter than AWS, with its error for a signature that does not match: `x-amz-target` must be signed, since the operation hangs on it;
//! a signed header of another name must be sent; and what says something twice (a header that `SINGLE` names, a part of the
//! signature) says nothing. A presigned URL is a request without a signature: no client of AWS KMS makes one.

mod authorization;
mod date;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use hyper::HeaderMap;

use super::Credential;
use super::auth::{Refusal, SignedRequest, Verified};
use crate::clock::Timestamp;
use crate::crypto::{hash, mac};
use authorization::{Authorization, Scope};
use date::SignedAt;

/// The service that requests are signed for.
const SERVICE: &str = "kms";
const AUTHORIZATION: &str = "authorization";
const HOST: &str = "host";
const DATE: &str = "date";
/// The operation of a request.
const TARGET: &str = "x-amz-target";
const X_AMZ_DATE: &str = "x-amz-date";
const CONTENT_SHA256: &str = "x-amz-content-sha256";
const SECURITY_TOKEN: &str = "x-amz-security-token";
/// Headers that one request has once.
const SINGLE: [&str; 6] = [AUTHORIZATION, DATE, HOST, X_AMZ_DATE, TARGET, CONTENT_SHA256];

/// Who signed `request`, by what `find` knows of an access key id. `now` is the machine's clock, as clients sign by theirs.
///
/// # Errors
/// What `find` fails with; within that, the refusal that AWS would answer.
pub fn verify<E>(
    request: &SignedRequest<'_>,
    now: Timestamp,
    find: impl FnOnce(&str) -> Result<Option<Credential>, E>,
) -> Result<Result<Verified, Refusal>, E> {
    verify_for(SERVICE, request, now, find)
}

fn verify_for<E>(
    service: &str,
    request: &SignedRequest<'_>,
    now: Timestamp,
    find: impl FnOnce(&str) -> Result<Option<Credential>, E>,
) -> Result<Result<Verified, Refusal>, E> {
    let claim = match Claim::of(service, request, now) {
        Ok(claim) => claim,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let credential = find(claim.scope.access_key_id)?;
    // Who is not known is found out only after the same work.
    let secret = credential.as_ref().map_or(NOBODY, |credential| credential.secret.as_str());
    let is_signed = claim.is_signed_with(secret, service, request);
    Ok(match credential {
        None => Err(unknown_client()),
        Some(_) if !is_signed => Err(mismatch()),
        // Sessions are of a token service, and there is none here.
        Some(_) if request.headers.contains_key(SECURITY_TOKEN) => Err(unknown_client()),
        Some(credential) => Ok(Verified {
            principal: credential.principal,
            region: claim.scope.region.to_owned(),
            access_key_id: Some(claim.scope.access_key_id.to_owned()),
        }),
    })
}

/// A secret in place of one that is not there; as long as a real one, so that it takes as long.
const NOBODY: &str = "nobody's, who signs nothing that would fit..";

/// What a request says of its signature: complete, in time and in scope, and not yet verified.
struct Claim<'a> {
    authorization: Authorization<'a>,
    scope: Scope<'a>,
    at: SignedAt,
    /// Whether everything is said once, and signed where it must be.
    is_sound: bool,
}

impl<'a> Claim<'a> {
    fn of(service: &str, request: &SignedRequest<'a>, now: Timestamp) -> Result<Self, Refusal> {
        let headers = request.headers;
        let is_presigned = has_parameter(request.target, "X-Amz-Algorithm");
        let header = match headers.get(AUTHORIZATION).map(|value| value.to_str()) {
            Some(Ok(_)) if is_presigned => {
                return Err(invalid(
                    "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.",
                ));
            }
            Some(Ok(header)) => header,
            Some(Err(_)) | None => return Err(Refusal::missing()),
        };
        let date = headers.get(X_AMZ_DATE).or_else(|| headers.get(DATE));
        let authorization = Authorization::parse(header, date.is_some())?;
        let at = SignedAt::parse(date)?;
        at.check(now)?;
        if !authorization.signs(HOST) {
            return Err(invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."));
        }
        authorization.check_algorithm()?;
        let scope = Scope::parse(authorization.credential)?;
        scope.check(service, &at)?;
        authorization.check_headers(headers)?;
        let is_single = |name: &&str| headers.get_all(*name).iter().nth(1).is_none();
        let is_sound = authorization.is_canonical()
            && SINGLE.iter().all(is_single)
            && (authorization.signs(TARGET) || !headers.contains_key(TARGET))
            && is_hash_of(headers, request.body);
        Ok(Self { authorization, scope, at, is_sound })
    }

    /// Whether this is the signature of the request with that secret. What is not sound costs the same.
    fn is_signed_with(&self, secret: &str, service: &str, request: &SignedRequest<'_>) -> bool {
        let computed = self.signature(secret, service, request).unwrap_or_default();
        let is_same = mac::same(computed.as_bytes(), self.authorization.signature.as_bytes());
        is_same & self.is_sound & !computed.is_empty()
    }

    /// The signature of the request with that secret; `None` where nothing can sign such a request.
    fn signature(&self, secret: &str, service: &str, request: &SignedRequest<'_>) -> Option<String> {
        let credentials = Credentials::new(self.scope.access_key_id, secret, None, None, "kmsfs").into();
        let mut settings = SigningSettings::default();
        // The crate adds this header to those that are signed. Who did not sign it is checked without.
        let unsigned = (!self.authorization.signs(X_AMZ_DATE)).then(|| X_AMZ_DATE.into());
        settings.excluded_headers = Some(unsigned.into_iter().collect());
        let params = v4::SigningParams::builder()
            .identity(&credentials)
            .region(self.scope.region)
            .name(service)
            .time(self.at.system_time())
            .settings(settings)
            .build()
            .ok()?
            .into();
        let mut signed = Vec::new();
        for name in self.authorization.signed_headers() {
            for value in request.headers.get_all(name) {
                signed.push((name, value.to_str().ok()?));
            }
        }
        let body = SignableBody::Bytes(request.body);
        let signable = SignableRequest::new(request.method, request.target, signed.into_iter(), body).ok()?;
        let (_, signature) = sign(signable, &params).ok()?.into_parts();
        Some(signature)
    }
}

/// Whether what the request says of its body's hash, if it does, is so. `UNSIGNED-PAYLOAD` is S3's alone.
fn is_hash_of(headers: &HeaderMap, body: &[u8]) -> bool {
    let Some(said) = headers.get(CONTENT_SHA256) else { return true };
    let hash = hash::sha256(&[body]).map(|byte| format!("{byte:02x}")).concat();
    mac::same(said.as_bytes(), hash.as_bytes())
}

/// Whether the query of a target has a parameter of that name.
fn has_parameter(target: &str, name: &str) -> bool {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    query.split('&').any(|parameter| parameter.split('=').next() == Some(name))
}

/// The refusal of a signature that lacks something.
fn incomplete(message: impl Into<String>) -> Refusal {
    refusal("IncompleteSignatureException", message)
}

/// The refusal of a signature that cannot be valid.
fn invalid(message: impl Into<String>) -> Refusal {
    refusal("InvalidSignatureException", message)
}

/// The refusal of a signature that is not the one of this request and this secret.
fn mismatch() -> Refusal {
    invalid(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing \
         method. Consult the service documentation for details.",
    )
}

/// The refusal of an access key that nobody has.
fn unknown_client() -> Refusal {
    refusal("UnrecognizedClientException", "The security token included in the request is invalid.")
}

fn refusal(name: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { name, message: message.into() }
}

#[cfg(test)]
mod tests;
