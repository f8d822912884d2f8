//! Who sent a request, and to which region.
//!
//! What a signature says is verified elsewhere, by a pure function of the request, the time and the credential; here are its input and
//! its answers.

use crate::kms::id::is_region;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

/// A request as a signature covers it.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    /// `POST`.
    pub method: &'a str,
    /// Path and query as they were sent: `/`.
    pub target: &'a str,
    /// All headers, with names in lower case.
    pub headers: &'a HeaderMap,
    /// The whole body.
    pub body: &'a [u8],
}

/// Who sent a request: what a valid signature proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The ARN of the principal that policies and records see.
    pub principal: String,
    /// The region of the credential's scope.
    pub region: String,
    /// The access key id that it was signed with; `None` where the server asks for no signature.
    pub access_key_id: Option<String>,
}

/// Why a request is not let in, as AWS answers. Status 400 always, as AWS KMS answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The name on the wire: `InvalidSignatureException`.
    pub name: &'static str,
    /// Its message. It says nothing that the client did not know.
    pub message: String,
}

impl Refusal {
    /// A request without a signature.
    pub fn missing() -> Self {
        Self {
            name: "MissingAuthenticationTokenException",
            message: "Request is missing Authentication Token".to_owned(),
        }
    }

    /// A request that a web page had a browser send, to a server that trusts everybody who can send one.
    pub fn web_page() -> Self {
        let message = "A server without signatures does not answer web pages.".to_owned();
        Self { name: "AccessDeniedException", message }
    }
}

/// The region that an `Authorization` header's scope names (`Credential=ID/DATE/REGION/kms/aws4_request`), whether it is signed or not.
pub fn region_of_scope(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (_, scope) = text.split_once("Credential=")?;
    let scope = scope.split([',', ' ']).next()?;
    // An access key id that holds a slash shifts what comes before.
    let mut parts = scope.rsplit('/');
    let (end, _service, region) = (parts.next()?, parts.next()?, parts.next()?);
    (end == "aws4_request" && is_region(region)).then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn region(value: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
        region_of_scope(&headers)
    }

    #[test]
    fn the_region_is_the_third_part_of_the_scope_from_its_end() {
        let known = "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-west-1/kms/aws4_request, SignedHeaders=host, Signature=0";
        assert_eq!(region(known).as_deref(), Some("eu-west-1"));
        assert_eq!(
            region("AWS4-HMAC-SHA256 Credential=a/b/c/d/us-east-1/kms/aws4_request").as_deref(),
            Some("us-east-1")
        );
        for none in ["Basic dTpw", "Credential=", "Credential=a/b", "Credential=a/b/US EAST/kms/aws4_request"]
        {
            assert_eq!(region(none), None, "{none}");
        }
    }
}
