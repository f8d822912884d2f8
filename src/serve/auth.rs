//! Who sent a request, and to which region.
//!
//! What a signature says is verified elsewhere, by a pure function of the request, the time and the credential; here are its input and
//! its answers.

use hyper::HeaderMap;

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
            message: "Missing Authentication Token".to_owned(),
        }
    }
}
